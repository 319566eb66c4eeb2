// Command gatepass-broker answers workspaces that prove who they are with tokens
// that open exactly what their profile says. See docs/broker.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: gatepass-broker [--config FILE] [--check]

  --config FILE   the configuration (default /etc/gatepass/broker.yaml)
  --check         read everything, ask nobody, and say whether it would start
  --version       print the version

SIGHUP reads the configuration again. SIGTERM and SIGINT let running requests
finish; a second one does not.
`

func main() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	syscall.Umask(0o077)
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr, signals))
}
