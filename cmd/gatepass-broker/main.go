// Command gatepass-broker gives tokens to workspaces that prove their identity. A token
// opens exactly what the workspace's profile allows. See docs/broker.md.
package main

import (
	"os"

	"github.com/gatepass/gatepass/broker/serve"
)

func main() { os.Exit(serve.Main()) }
