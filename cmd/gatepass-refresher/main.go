// Command gatepass-refresher replaces workspaces' tokens before they expire: in one run
// over the ledger, at intervals, or as an AWS Lambda function.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: gatepass-refresher [options]

Goes once over the ledger: mints what is due, revokes what was replaced a while
ago, and finishes what an interrupted run left. With --interval it stays and does
so again and again. Where AWS Lambda starts it, it answers invocations.

  --store URL         where things are kept (default $GATEPASS_STORE or a folder of yours)
  --github-url URL    GitHub Enterprise (default $GATEPASS_GITHUB_URL, what the store says, or https://github.com)
  --workspace ID      look after this workspace only, due or not
  --force             replace every token, due or not
  --margin D          replace a token that has less left than this (default $GATEPASS_MARGIN or 20m)
  --grace D           revoke a replaced token after this; 0 for at once (default $GATEPASS_GRACE or 20m)
  --workers N         workspaces at once (default $GATEPASS_WORKERS or 20)
  --timeout D         begin no further workspace after this; the next pass does (default 15m)
  --payload FILE      do what this payload of the Lambda function says; - is standard input
  --adopt             make a workspace that a payload describes and the ledger does not know, and
                      replace live tokens that gatepass did not write (or $GATEPASS_ADOPT)
  --interval D        stay, and make a pass every D, give or take a tenth
  --listen ADDRESS    serve /healthz, /readyz and /metrics while it stays (default 127.0.0.1:9464); none for nowhere
  --json              print the summary as JSON
  --log-format FORM   json or text (default $GATEPASS_LOG_FORMAT or json)
  --version           print the version

Exit code 0: all is well, or left to the next pass; 1: something failed; 2: usage.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}
