package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/hooks"
)

// Only hooks that install links end early: without Go, pre-push would let every push
// through.
func TestEntryKnowsTheLinks(t *testing.T) {
	var links []string
	for _, event := range hooks.Shimmed {
		if (hooks.Shim{Event: event}).Link() {
			links = append(links, event)
		}
	}
	names := strings.Split(strings.TrimSuffix(stepsAside, "\x00"), "\x00")
	slices.Sort(names)
	slices.Sort(links)
	if !slices.Equal(names, links) {
		t.Errorf("entry knows %q, want %q", names, links)
	}
}

// released returns the program in its released form.
func released(t *testing.T) string {
	if dir := os.Getenv(binVariable); dir != "" {
		return filepath.Join(dir, "gatepass-pre-push")
	}
	program := filepath.Join(t.TempDir(), "gatepass-pre-push")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w -E main.entry", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// Go starts in each case in which the repository may have a hook, or is not .git; if
// the hook does not exist, the program ends without Go.
func TestEntryStartsGoOnlyForAHook(t *testing.T) {
	program := released(t)
	for _, test := range []struct {
		name  string
		hook  string // the name by which the program is called
		env   string
		file  string // that exists in addition to .git/HEAD
		lacks bool   // even that
		goes  bool
	}{
		{name: "no hook", hook: "post-commit"},
		{name: "the longest name", hook: "reference-transaction"},
		{name: "another hook", hook: "commit-msg", file: ".git/hooks/post-commit"},
		{name: "other variables", hook: "update", env: "GIT_DIRECTORY=x"},
		{name: "a hook", hook: "post-commit", file: ".git/hooks/post-commit", goes: true},
		{name: "GIT_DIR", hook: "post-commit", env: "GIT_DIR=.git"},
		{name: "GIT_DIR with a hook", hook: "post-commit", env: "GIT_DIR=.git", file: ".git/hooks/post-commit", goes: true},
		{name: "GIT_DIR is absent", hook: "post-commit", env: "GIT_DIR=x", goes: true},
		{name: "GIT_DIR is long", hook: "post-commit", env: "GIT_DIR=" + strings.Repeat("./", 3000) + ".git", goes: true},
		{name: "GIT_COMMON_DIR", hook: "post-commit", env: "GIT_COMMON_DIR=.git", goes: true},
		{name: "no repository", hook: "post-commit", lacks: true, goes: true},
		{name: "a linked worktree", hook: "post-commit", lacks: true, file: ".git", goes: true},
		{name: "a shared git directory", hook: "post-commit", file: ".git/commondir", goes: true},
		{name: "pre-push", hook: "pre-push", goes: true},
		{name: "pre-receive", hook: "pre-receive", goes: true},
		{name: "a name that only begins so", hook: "post-commit-x", goes: true},
		{name: "part of a name", hook: "commit", goes: true},
		{name: "its own name", hook: "gatepass-pre-push", goes: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			link, dir := filepath.Join(t.TempDir(), test.hook), t.TempDir()
			if err := os.Symlink(program, link); err != nil {
				t.Fatal(err)
			}
			files := []string{".git/HEAD", test.file}
			if test.lacks {
				files = files[1:]
			}
			for _, file := range slices.DeleteFunc(files, func(f string) bool { return f == "" }) {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), link)
			cmd.Dir, cmd.Env = dir, []string{"GODEBUG=inittrace=1", "PATH=" + os.Getenv("PATH")}
			if test.env != "" {
				cmd.Env = append(cmd.Env, test.env)
			}
			out, err := cmd.CombinedOutput()
			started := strings.Contains(string(out), "init runtime")
			if started != test.goes || !started && err != nil {
				t.Errorf("Go started: %v, %v, want %v: %s", started, err, test.goes, out)
			}
		})
	}
}

// A linked worktree shares the hooks of its repository. entry knows their place only as
// git writes it.
func TestEntryInALinkedWorktree(t *testing.T) {
	dir := t.TempDir()
	link, gitDir := filepath.Join(dir, "update"), filepath.Join(dir, ".git/worktrees/w")
	goes := func(commonDir string) bool {
		if err := os.WriteFile(filepath.Join(gitDir, "commondir"), []byte(commonDir), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), link)
		cmd.Dir, cmd.Env = dir, []string{"GODEBUG=inittrace=1", "GIT_DIR=" + gitDir}
		out, _ := cmd.CombinedOutput()
		return strings.Contains(string(out), "init runtime")
	}
	err := errors.Join(os.Symlink(released(t), link), os.MkdirAll(gitDir, 0o755), os.Mkdir(filepath.Join(dir, ".git/hooks"), 0o755),
		os.WriteFile(filepath.Join(gitDir, "HEAD"), nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"../..\n": false, "../.": true, "../..": true, "../../\n": true, "../..\n\n": true, dir + "\n": true, "": true} {
		if got := goes(text); got != want {
			t.Errorf("with commondir %q Go started: %v, want %v", text, got, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".git/hooks/update"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if !goes("../..\n") {
		t.Error("Go did not start, want it for the hook of the repository")
	}
}
