package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

const rebased = 50

// A gitOperation is a frequent git operation that calls hooks that the repository does not
// have.
type gitOperation struct {
	name, script string
	before       string // not timed
	runs         int
	noTarget     string // why it has no target
}

var gitOperations = []gitOperation{
	{name: "git add of a file", script: "git add file", before: "date +%N >file", runs: 150},
	{name: "git commit", script: "git commit -q --allow-empty -m text", runs: 150},
	{name: "git checkout of a branch", script: "git checkout -q -", runs: 150},
	{name: "20 commits", script: "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do git commit -q --allow-empty -m $i; done", runs: 20},
	{
		name: fmt.Sprintf("git rebase of %d commits", rebased), script: "git rebase -q onto", before: "git checkout -q -B work top", runs: 5,
		noTarget: "git starts a process for each of 650 calls, 500 of them reference-transaction",
	},
}

// hooks times each operation for a user of gatepass and one without.
func (b *bench) hooks() ([]row, error) {
	ours, err := b.committer("hooks")
	if err != nil {
		return nil, err
	}
	plain, err := b.committer("no-hooks")
	if err != nil {
		return nil, err
	}
	if err := firstOf(ours.configure("source: file:///nonexistent", "refs: [agent/**]"), ours.install()); err != nil {
		return nil, err
	}
	var rows []row
	for _, c := range gitOperations {
		times, err := b.race(b.runs(c.runs), ours.runOperation(c), plain.runOperation(c))
		if err != nil {
			return nil, err
		}
		r := row{Promise: "hooks: " + c.name, Ours: times[0].figure(), Note: c.noTarget}.beside("without gatepass", times[1].figure())
		if c.noTarget == "" {
			r = r.judged(ratioAtMost(1.5))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// committer returns a user with a repository in which the commits up to top can be
// rebased onto the branch onto.
func (b *bench) committer(name string) (*testUser, error) {
	w, err := b.newUser(name)
	if err != nil {
		return nil, err
	}
	script := fmt.Sprintf(`git config --global user.name bench; git config --global user.email bench@example.com
		git config --global gc.auto 0; git init -q work; cd work; git checkout -q -b onto
		echo 0 >file; git add file; git commit -q -m base; git checkout -q -b work
		for i in $(seq %d); do echo $i >file; git commit -q -a -m $i; done; git tag top
		git checkout -q onto; git commit -q --allow-empty -m onto; git checkout -q work`, rebased)
	cmd := w.shell(script)
	cmd.dir = w.dir
	_, err = cmd.run()
	return w, err
}

func (w *testUser) shell(script string) command {
	return command{path: "/bin/sh", args: []string{"-ec", script}, env: w.env(), dir: filepath.Join(w.dir, "work")}
}

// runOperation returns the command of an operation; it starts git directly if the operation is one
// command.
func (w *testUser) runOperation(c gitOperation) command {
	timed := w.shell(c.script)
	if args, ok := strings.CutPrefix(c.script, "git "); ok {
		timed = w.command("git", strings.Fields(args)...)
		timed.dir = filepath.Join(w.dir, "work")
	}
	if c.before != "" {
		timed.before = func() error { _, err := w.shell(c.before).run(); return err }
	}
	return timed
}
