// Command gatepass-broker answers workspaces that prove who they are with tokens
// that open exactly what their profile says. See docs/broker.md.
package main

import (
	"os"

	"github.com/gatepass/gatepass/broker/serve"
)

func main() { os.Exit(serve.Main()) }
