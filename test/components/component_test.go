//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// A fake is a component that becomes 1.0 when set up, unless broken.
type fake struct {
	name   string
	ready  bool
	broken error
	setUps int
}

func (f *fake) Name() string { return f.name }

func (f *fake) Find(context.Context) (string, error) {
	if !f.ready {
		return "", errors.New("not set up yet")
	}
	return "1.0", nil
}

func (f *fake) SetUp(context.Context) error {
	f.setUps++
	f.ready = f.broken == nil
	return f.broken
}

func TestEnsureSetsUpOnlyWhatIsNotThere(t *testing.T) {
	there, absent := &fake{name: "there", ready: true}, &fake{name: "absent"}
	table, err := ensure(t.Context(), []Component{there, absent}, cache{dir: t.TempDir()}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if there.setUps != 0 || absent.setUps != 1 {
		t.Errorf("set up %d and %d times, want 0 and 1", there.setUps, absent.setUps)
	}
	if n := missing(table); n != 0 {
		t.Errorf("missing = %d, want 0", n)
	}
}

func TestEnsureGoesOnAfterAFailure(t *testing.T) {
	broken, after := &fake{name: "broken", broken: errors.New("no mirror")}, &fake{name: "after"}
	table, err := ensure(t.Context(), []Component{broken, after}, cache{dir: t.TempDir()}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if n := missing(table); n != 1 || table[1].missing != nil {
		t.Errorf("table = %+v, want only the first missing", table)
	}
}

func TestEnsureStopsWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	first, second := &fake{name: "first"}, &fake{name: "second"}
	_, err := ensure(ctx, []Component{first, second}, cache{dir: t.TempDir()}, io.Discard)
	if !errors.Is(err, context.Canceled) || second.setUps != 0 {
		t.Errorf("ensure = %v with %d set-ups of the second, want %v and none", err, second.setUps, context.Canceled)
	}
}

func TestLookChangesNothing(t *testing.T) {
	f := &fake{name: "absent"}
	table := look(t.Context(), []Component{f})
	if f.setUps != 0 || missing(table) != 1 {
		t.Errorf("look: %d set-ups, %d missing, want 0 and 1", f.setUps, missing(table))
	}
}

func TestPrintTable(t *testing.T) {
	table := []status{
		{name: "git (system)", version: "2.39.5"},
		{name: "git (newest)", version: "git 2.55.0", setUp: 21900 * time.Millisecond},
		{name: "shellcheck", missing: errors.New("needs root\nto install it")},
	}
	const want = `component     version     state
git (system)  2.39.5      found
git (newest)  git 2.55.0  found, set up in 21.9 s
shellcheck    -           missing: needs root\nto install it
2 found, 1 missing
`
	var got bytes.Buffer
	printTable(&got, table)
	if got.String() != want {
		t.Errorf("printTable =\n%s\nwant\n%s", got.String(), want)
	}
}

func TestMissingFailsTheRunOnlyInCI(t *testing.T) {
	whole := []status{{name: "git"}}
	lacking := []status{{name: "git", missing: errors.New("none")}}
	for _, tt := range []struct {
		ci    bool
		table []status
		want  int
	}{
		{ci: false, table: whole, want: 0},
		{ci: false, table: lacking, want: 0},
		{ci: true, table: whole, want: 0},
		{ci: true, table: lacking, want: 1},
	} {
		if got := (machine{ci: tt.ci}).verdict(tt.table); got != tt.want {
			t.Errorf("verdict(%+v) with ci=%v = %d, want %d", tt.table, tt.ci, got, tt.want)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"frobnicate"}, {"list", "x"}, {"shell"}, {"shell", "git-newest", "ls"}} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), args, func(string) string { return "" }, nil, &stdout, &stderr)
		if code != 2 || stdout.Len() > 0 || !strings.HasPrefix(stderr.String(), "usage: ") {
			t.Errorf("run(%q) = %d, stdout %q, stderr %q, want 2 and the usage on stderr", args, code, stdout.String(), stderr.String())
		}
	}
}

func TestPackagesOfSuitesCanBeNamed(t *testing.T) {
	for _, name := range []string{"./cmd", "cmd", "./credential/ssmstore/..."} {
		if got, err := chosen([]string{name}); err != nil || len(got) != 1 {
			t.Errorf("chosen(%q) = %v, %v, want one suite", name, got, err)
		}
	}
	if got, err := chosen(nil); err != nil || len(got) != len(suites) {
		t.Errorf("chosen() = %d suites, %v, want all %d", len(got), err, len(suites))
	}
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"test", "./cmd", "./nowhere"}, func(string) string { return "" }, nil, io.Discard, &stderr)
	if code != 2 || !strings.Contains(stderr.String(), "test ./nowhere: no suite") {
		t.Errorf("test ./cmd ./nowhere = %d, %q, want 2 and the package named", code, stderr.String())
	}
}

// TestSuitesDiffer lets a suite be named by its package.
func TestSuitesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, su := range suites {
		if seen[su.pattern] {
			t.Errorf("%s is in the table twice", su.pattern)
		}
		seen[su.pattern] = true
	}
}
