package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// A bench is one run of this program.
type bench struct {
	options
	ctx      context.Context
	scratch  string // removed at the end
	log      io.Writer
	baseline string // a Go program that does nothing; "" without a go command
	git      string // version of the git on PATH
	start    time.Time
}

// retryTime returns how long after its start a run may still repeat a measurement.
func (b *bench) retryTime() time.Duration {
	if b.quick {
		return 10 * time.Second
	}
	return 3 * time.Minute
}

// A promise is measured by a function that returns its rows.
type promise struct {
	name    string
	measure func(*bench) ([]row, error)
	isLong  bool // measured only if it is named
}

var promises = []promise{
	{name: "get", measure: (*bench).warmGet},
	{name: "fill", measure: (*bench).fill},
	{name: "size", measure: (*bench).sizes},
	{name: "memory", measure: (*bench).memory},
	{name: "cold", measure: (*bench).cold},
	{name: "guard", measure: (*bench).guardCPU},
	{name: "push", measure: (*bench).push},
	{name: "hooks", measure: (*bench).hooks},
	{name: "remote", measure: func(b *bench) ([]row, error) { return remoteBench{b}.remote() }},
	{name: "refresh", measure: (*bench).refresh},
	{name: "vend", measure: func(b *bench) ([]row, error) { return vendBench{b}.vend() }},
	{name: "exchange", measure: func(b *bench) ([]row, error) { return vendBench{b}.exchange() }},
	{name: "operator", measure: (*bench).operator},
	{name: "gateway", measure: func(b *bench) ([]row, error) { return gatewayBench{b}.gateway() }},
	{name: "scale", measure: func(b *bench) ([]row, error) { return scaleBench{b}.scale() }, isLong: true},
}

func checkNames(names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(promises, func(p promise) bool { return p.name == name }) {
			return fmt.Errorf("%q is nothing that can be measured", name)
		}
	}
	return nil
}

func newBench(ctx context.Context, o options, log io.Writer) (*bench, error) {
	for _, program := range []string{helperProgram, agentProgram, askpassProgram, guardProgram, cliProgram} {
		if _, err := os.Stat(o.bin + "/" + program); err != nil {
			return nil, err
		}
	}
	git, err := gitVersion(ctx)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "gatepass-bench-")
	if err != nil {
		return nil, err
	}
	return &bench{options: o, ctx: ctx, scratch: scratch, log: log, git: git, start: time.Now()}, nil
}

func (b *bench) close() { _ = os.RemoveAll(b.scratch) }

// runs returns how many runs of one command to make: n, or fewer with -quick.
func (b *bench) runs(n int) int {
	if b.quick {
		return max(3, n/10)
	}
	return n
}

// measure returns the rows of every selected promise, or those before the first that
// could not be measured.
func (b *bench) measure() ([]row, error) {
	var all []row
	for _, p := range promises {
		if isNamed := slices.Contains(b.only, p.name); !isNamed && (p.isLong || len(b.only) > 0) {
			continue
		}
		rows, err := b.best(p)
		if err != nil {
			return all, usererr.Wrap("measure "+p.name, err, "")
		}
		all = append(all, rows...)
	}
	return all, nil
}

// best measures one promise, and measures again if a time target is missed, because
// other programs share the machine.
func (b *bench) best(p promise) ([]row, error) {
	var rows []row
	for round := range b.rounds {
		again, err := p.measure(b)
		if err != nil {
			return nil, err
		}
		rows = better(rows, again)
		if !slices.ContainsFunc(rows, row.late) || b.ctx.Err() != nil {
			break
		}
		if time.Since(b.start) > b.retryTime() {
			break
		}
		if round+1 < b.rounds {
			fmt.Fprintf(b.log, "%s: missed in round %d, measuring again\n", p.name, round+1)
		}
	}
	return rows, b.ctx.Err()
}

// better returns the better of two measurements for each row. A figure without a target
// stays with the row above it, so that both come from one run.
func better(old, again []row) []row {
	if len(old) != len(again) {
		return again
	}
	take := false
	out := slices.Clone(old)
	for i := range out {
		if old[i].Target != nil {
			take = again[i].score() < old[i].score()
		}
		if take {
			out[i] = again[i]
		}
	}
	return out
}

// tempDir creates a folder of this run.
func (b *bench) tempDir(name string) (string, error) {
	return os.MkdirTemp(b.scratch, strings.ReplaceAll(name, " ", "-")+"-")
}
