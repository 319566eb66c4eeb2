// Command gatepass-refresher replaces workspaces' tokens before they expire: in one
// round over the ledger, at intervals, or as an AWS Lambda function.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
)

const usage = `usage: gatepass-refresher [options]

Runs one round over the ledger: mints due tokens, revokes tokens that were replaced
a while ago, and finishes interrupted runs. With --interval it keeps running and
repeats the round. If AWS Lambda starts it, it answers invocations.

  --store URL         the store (default $GATEPASS_STORE or a directory of this user)
  --github-url URL    GitHub Enterprise (default $GATEPASS_GITHUB_URL, the URL in the store, or https://github.com)
  --workspace ID      only this workspace, due or not
  --force             replace every token, due or not
  --margin D          replace a token when less than this is left (default $GATEPASS_MARGIN or 20m)
  --grace D           revoke a replaced token after this; 0 revokes it at once (default $GATEPASS_GRACE or 20m)
  --workers N         workspaces at the same time (default $GATEPASS_WORKERS or 20)
  --timeout D         do not begin another workspace after this; the next round does (default 15m)
  --payload FILE      handle this payload of the Lambda function; - is standard input
  --adopt             create a workspace that is in a payload but not in the ledger, and
                      replace live tokens that gatepass did not write (or $GATEPASS_ADOPT)
  --interval D        keep running, with a round every D, plus or minus a tenth
  --listen ADDRESS    with --interval, serve /healthz, /readyz and /metrics (default 127.0.0.1:9464); none serves nothing
  --json              print the summary as JSON
  --log-format FORM   json or text (default $GATEPASS_LOG_FORMAT or json)
  --version           print the version

Exit code 0: success, or deferred to the next round; 1: a failure; 2: wrong usage.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// lastWait is how long the workspaces in work may take to finish after the round starts
// no further one.
const lastWait = 20 * time.Second

func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	if getenv(runtimeAPI) != "" {
		return serveLambda(ctx, getenv, stderr)
	}
	o, err := parse(args, getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return 0
	case err != nil:
		_, _ = io.WriteString(stderr, usererr.Line(usererr.Wrap("read the command line", err, "see gatepass-refresher --help")))
		return 2
	case o.version:
		_, _ = io.WriteString(stdout, "gatepass-refresher "+version.String()+"\n")
		return 0
	}
	r, err := newRefresher(o, getenv, newLogger(stderr, o.logFormat))
	if err == nil && o.interval > 0 {
		err = r.loop(ctx)
	} else if err == nil {
		err = r.once(ctx, stdin, stdout, stderr)
	}
	switch {
	case errors.Is(err, errReported):
		return 1
	case err != nil:
		_, _ = io.WriteString(stderr, usererr.Line(err))
		return 1
	}
	return 0
}

// errReported means that something failed and the error has been printed.
var errReported = errors.New("something failed")

// once makes one round and reports it.
func (r *refresher) once(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	q, err := r.readRequest(stdin)
	if err != nil {
		return err
	}
	ctx, stop, cancel := term(ctx, r.options.timeout, lastWait)
	defer cancel()
	made, err := r.refresh(ctx, stop, q)
	if printErr := r.print(stdout, made); printErr != nil {
		return usererr.Wrap("print the summary", printErr, "")
	}
	if err != nil && !made.isOfWorkspaces() {
		return err
	}
	for _, f := range made.Failures {
		_, _ = io.WriteString(stderr, usererr.Line(fmt.Errorf("workspace %s: %s", f.Workspace, f.Error)))
	}
	if more := made.Failed - len(made.Failures); more > 0 {
		_, _ = io.WriteString(stderr, usererr.Line(fmt.Errorf("%d more workspaces failed", more)))
	}
	if made.Failed > 0 {
		return errReported
	}
	return nil
}

// readRequest returns the request of the command line, or of the payload that it names.
func (r *refresher) readRequest(stdin io.Reader) (request, error) {
	if r.options.payload == "" {
		return request{workspace: r.options.workspace, force: r.options.force}, nil
	}
	in := stdin
	if r.options.payload != "-" {
		f, err := os.Open(r.options.payload)
		if err != nil {
			return request{}, usererr.Wrap("read the payload", err, "name its file, or - for standard input")
		}
		defer f.Close()
		in = f
	}
	payload, err := io.ReadAll(io.LimitReader(in, maxPayload+1))
	if err != nil {
		return request{}, usererr.Wrap("read the payload", err, "")
	}
	return r.read(payload)
}

func (r *refresher) print(stdout io.Writer, made report) error {
	if !r.options.json {
		if made.Error != "" && made.Workspaces == 0 {
			return nil // the error says it all
		}
		_, err := io.WriteString(stdout, made.String()+"\n")
		return err
	}
	text, err := json.MarshalIndent(made, "", "  ")
	if err == nil {
		_, err = usererr.JSONWriter(stdout).Write(append(text, '\n'))
	}
	return err
}

// term returns the deadlines of a round. stop closes after soft, or when ctx ends: from
// then on the round starts no workspace. whole ends after a further wait: the round
// gives up the workspaces in work.
func term(ctx context.Context, soft, wait time.Duration) (whole context.Context, stop <-chan struct{}, cancel func()) {
	begin, cancelBegin := context.WithTimeout(ctx, soft)
	whole, cancelWhole := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(begin, func() {
		timer := time.AfterFunc(wait, cancelWhole)
		context.AfterFunc(whole, func() { timer.Stop() })
	})
	return whole, begin.Done(), func() { cancelWhole(); cancelBegin() }
}
