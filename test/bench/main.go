// Command bench measures what gatepass promises about time, size and requests, each
// next to a peer in the same run, and reports which promises hold. "make bench" runs
// it; BENCHMARKS.md explains its output.
//
// Everything happens in scratch homes below one temporary directory. Each process that
// it starts is stopped through that process's own command.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/internal/usererr"
)

const usage = `usage: bench [-quick] [-json] [-only NAME,...] [-bin DIR] [-here] [-tokens N]
             [-stores NAME,...] [-rounds N]

Measures the promises of gatepass beside their peers. Exit code 1 when one is
missed.

  -quick        fewer runs: about two minutes, and less sure
  -json         print JSON instead of a table
  -only NAMES   of: get, fill, size, memory, cold, guard, push, hooks, remote,
                refresh, vend, exchange, operator, gateway, and scale, which is
                measured only when it is named
  -bin DIR      where the stripped programs are (default bin)
  -here         measure "remote" with the git on PATH; otherwise with the newest
                git that test/components has set up
  -stores NAMES what "scale" measures, of: file, ssm, vault, kubernetes,
                dynamodb, postgres
  -tokens N     how many Tokens "operator" has (default 1000)
  -rounds N     measure a missed time up to N times and take the best
                (default 3; none is begun after three minutes)
`

func main() {
	switch filepath.Base(os.Args[0]) {
	case promptProgram:
		os.Exit(answerPrompt(os.Getenv, os.Stdout))
	case upstreamProgram:
		os.Exit(serveUpstream(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A client that disconnects from a server in this process raises SIGPIPE too, which
	// must not end the process. If the output is closed, printing returns an error.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the options of the command line.
type options struct {
	quick, json, here bool
	only              []string
	bin               string // absolute
	rounds, tokens    int
	stores            map[string]bool // stores that "scale" measures; empty means all
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&o.quick, "quick", false, "")
	f.BoolVar(&o.json, "json", false, "")
	f.BoolVar(&o.here, "here", false, "")
	f.StringVar(&o.bin, "bin", "bin", "")
	f.IntVar(&o.rounds, "rounds", 3, "")
	f.IntVar(&o.tokens, "tokens", 1000, "")
	only, stores := f.String("only", "", ""), f.String("stores", "", "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.rounds < 1 || o.tokens < 1 {
		return o, errors.New("unexpected arguments")
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if err := checkNames(o.only); err != nil {
		return o, err
	}
	if o.stores, err = storesOf(*stores); err != nil {
		return o, err
	}
	o.bin, err = filepath.Abs(o.bin)
	return o, err
}

// run returns the exit code: 0 if every promise holds, 1 if one does not or could not
// be measured, 2 for a usage error.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if err != nil {
		fmt.Fprint(stderr, usererr.Line(err)+usage)
		return 2
	}
	b, err := newBench(ctx, o, stderr)
	if err != nil {
		fmt.Fprint(stderr, usererr.Line(usererr.Wrap("prepare the measurements", err, "run make build first")))
		return 1
	}
	defer b.close()
	rows, err := b.measure()
	if err == nil || len(rows) > 0 {
		err = firstOf(err, printRows(stdout, rows, o.json))
	}
	if err != nil {
		fmt.Fprint(stderr, usererr.Line(err))
		return 1
	}
	return exitCode(rows)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func exitCode(rows []row) int {
	for _, r := range rows {
		if r.Verdict == missed {
			return 1
		}
	}
	return 0
}

// storesOf reads the names of stores.
func storesOf(text string) (map[string]bool, error) {
	if text == "" {
		return nil, nil
	}
	stores := map[string]bool{}
	for name := range strings.SplitSeq(text, ",") {
		if _, ok := scaleCases[name]; !ok {
			return nil, fmt.Errorf("%q is not a store that can be measured", name)
		}
		stores[name] = true
	}
	return stores, nil
}
