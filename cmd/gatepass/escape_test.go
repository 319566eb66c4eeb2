package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
)

// hostile is a text that controls a terminal, or looks like another text on it.
const hostile = "a\u202e\u2066\u200b\x7f\u009b31m\x1b[31m\U000e0041z"

// wantHarmless checks that a text is fully visible.
func wantHarmless(t *testing.T, what, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%s has %q", what, text[i:min(len(text), i+20)])
	}
}

// The output of --json is also read on terminals. It is escaped, and means the same
// JSON.
func TestJSONIsHarmless(t *testing.T) {
	var out bytes.Buffer
	if err := command.WriteJSON(&out, map[string]string{hostile: hostile}); err != nil {
		t.Fatal(err)
	}
	wantHarmless(t, "the JSON", out.String())
	var got map[string]string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got[hostile] != hostile {
		t.Errorf("the JSON is %q, %v, want the text as it is", got, err)
	}
}

// Every command that shows the text of a file escapes it, for people and as JSON.
func TestCommandsAreHarmless(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ws\u202e.yaml")
	policy := "workspace: sb-1\nsource: file:///nowhere\nrefs: [\"agent/\\u202e\\u2066x\", \"main\"]\n"
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin\u202e\x7f")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"git-credential-gatepass", "gatepass-askpass", "gatepass-pre-push", "gatepass-agent"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitconfig"), []byte("[http]\n\tproxy = \"http://x\u202e\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("/tmp", "gp") // the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	getenv := func(name string) string {
		return map[string]string{"GATEPASS_CONFIG": file, "HOME": dir, "PATH": os.Getenv("PATH"), "XDG_RUNTIME_DIR": sockets, "GIT_CONFIG_NOSYSTEM": "1"}[name]
	}
	t.Cleanup(func() { // "token" starts an agent if the programs are beside this one
		run(context.Background(), []string{"agent", "stop"}, getenv, strings.NewReader(""), io.Discard, io.Discard)
		_ = os.RemoveAll(sockets)
	})
	for _, args := range [][]string{
		{"policy", "explain"},
		{"policy", "check", "ref\u202e\x7fx"},
		{"policy", "export", "--format", "github-ruleset"},
		{"install", "--dry-run", "--bin-dir", bin},
		{"uninstall", "--dry-run"},
		{"doctor"},
		{"agent", "status"},
		{"token"},
		{"audit", "verify", "no\u202e"},
		{"audit", "search", "no\u202e"},
		{"policy", "lint", "--broker", "no\u202e"},
		{"no\u202esuch"},
		{"workspace", "show", "no\u202e", "--store", "file://" + dir + "/store"},
	} {
		for _, form := range []string{"", "--json"} {
			var out, errs bytes.Buffer
			all := args
			if form != "" {
				all = append(append([]string{}, args...), form)
			}
			run(t.Context(), all, getenv, strings.NewReader(""), &out, &errs)
			wantHarmless(t, strings.Join(all, " "), out.String()+errs.String())
		}
	}
}
