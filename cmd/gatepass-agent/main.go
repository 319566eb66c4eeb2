// Command gatepass-agent holds a workspace's token source and keeps its tokens in
// memory. git-credential-gatepass starts it when it is needed; it exits when it is
// idle.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/gatepass/gatepass/credential/agent/server"
)

const usage = `usage: gatepass-agent [--config FILE] [--idle DURATION] [--once | --start]

Without --once or --start the agent stays in the foreground until it is idle or
receives SIGTERM.

  --config FILE     the workspace file (default $GATEPASS_CONFIG, /etc/gatepass/workspace.yaml or ~/.config/gatepass/workspace.yaml)
  --idle DURATION   exit after this time without a request (default $GATEPASS_AGENT_IDLE or 30m)
  --once            answer the one request on standard input, and exit
  --start           used by the helper to start the agent: print "ready" and detach from the terminal
  --version         print the version
`

// memoryLimit is the size, in bytes, from which Go's collector works harder. The agent
// lives in small sandboxes.
const memoryLimit = 16 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // a caller that hung up must not end the agent
	syscall.Umask(0o077)
	debug.SetMemoryLimit(memoryLimit)
	runtime.GOMAXPROCS(1) // the agent mostly waits: more threads would only wake up for nothing
	locked := server.Protect()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr, locked))
}
