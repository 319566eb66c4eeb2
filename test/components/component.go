//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// setupTimeout bounds the set-up of one component. The slowest takes eleven
// minutes of one core; the rest is room for a slow mirror and a busy machine.
const setupTimeout = 40 * time.Minute

// A Component is a real program or service that tests run against.
type Component interface {
	// Name is the component's name in the table.
	Name() string
	// Find returns the version of the existing component, or why it cannot be used. It
	// changes nothing.
	Find(ctx context.Context) (version string, err error)
	// SetUp makes Find succeed, if that is possible on this machine. It is called after
	// Find failed, with the cache locked.
	SetUp(ctx context.Context) error
}

// A status is one line of the table.
type status struct {
	name    string
	version string
	missing error         // why it cannot be used; nil when found
	setUp   time.Duration // how long the set-up took; 0 if it existed already
}

// look reports the state of each component.
func look(ctx context.Context, components []Component) []status {
	var table []status
	for _, c := range components {
		version, err := c.Find(ctx)
		table = append(table, status{name: c.Name(), version: version, missing: err})
	}
	return table
}

// ensure sets up missing components and reports on each. A failure of one does not stop
// the others.
func ensure(ctx context.Context, components []Component, c cache, log io.Writer) ([]status, error) {
	unlock, err := c.lock(ctx, log)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var table []status
	for _, component := range components {
		table = append(table, ensureOne(ctx, component, log))
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return table, nil
}

func ensureOne(ctx context.Context, c Component, log io.Writer) status {
	version, err := c.Find(ctx)
	if err == nil {
		return status{name: c.Name(), version: version}
	}
	fmt.Fprintf(log, "setting up %s\n", c.Name())
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	start := time.Now()
	if err = c.SetUp(ctx); err == nil {
		version, err = c.Find(ctx)
	}
	return status{name: c.Name(), version: version, missing: err, setUp: time.Since(start)}
}

// missing returns how many components are missing.
func missing(table []status) int {
	n := 0
	for _, s := range table {
		if s.missing != nil {
			n++
		}
	}
	return n
}

// printTable writes the table and the number of missing components.
func printTable(w io.Writer, table []status) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "component\tversion\tstate")
	for _, s := range table {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", s.name, dash(s.version), s.state())
	}
	tw.Flush()
	fmt.Fprintf(w, "%d found, %d missing\n", len(table)-missing(table), missing(table))
}

func (s status) state() string {
	switch {
	case s.missing != nil:
		return "missing: " + usererr.Escape(s.missing.Error())
	case s.setUp > 0:
		return fmt.Sprintf("found, set up in %.1f s", s.setUp.Seconds())
	}
	return "found"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
