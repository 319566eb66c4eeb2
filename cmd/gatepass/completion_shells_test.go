package main

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tabs are what every shell offers for the last word of a line.
var tabs = map[string]string{
	"gatepass uni":                           "uninstall",
	"gatepass policy ":                       "check explain export lint test",
	"gatepass policy check --v":              "--verb",
	"gatepass policy check --verb f":         "force",
	"gatepass install --guard h":             "hook hooks-path",
	"gatepass install --guard=h":             "hook hooks-path",
	"gatepass install --guard=":              "auto both hook hooks-path none",
	"gatepass install --host ":               "",
	"gatepass install --root /de":            "dev",
	"gatepass exec --repo a/b -- ls /dev/nu": "null",
	"gatepass nonsense uninst":               "uninstall",
}

// otherCommand is a line whose last word is another command's to complete.
const otherCommand = "gatepass exec -- gatepass uni"

// TestShellsComplete presses Tab in real shells.
func TestShellsComplete(t *testing.T) {
	lines := slices.Sorted(maps.Keys(tabs))
	t.Run("bash", func(t *testing.T) {
		sameOffers(t, tabs, lines, bashOffers(t, "/dev/null", lines))
	})
	t.Run("bash-completion", func(t *testing.T) {
		const library = "/usr/share/bash-completion/bash_completion"
		if _, err := os.Stat(library); err != nil {
			t.Skip("missing: bash-completion")
		}
		line := []string{otherCommand}
		sameOffers(t, map[string]string{otherCommand: "uninstall"}, line, bashOffers(t, library, line))
	})
	others := maps.Clone(tabs)
	others[otherCommand] = "uninstall"
	lines = append(lines, otherCommand)
	t.Run("zsh", func(t *testing.T) { sameOffers(t, others, lines, zshOffers(t, lines)) })
	t.Run("fish", func(t *testing.T) { sameOffers(t, others, lines, fishOffers(t, lines)) })
}

// sameOffers compares what was offered after each line, without what some shells
// repeat of the word that is typed: the folder, or the option before "=".
func sameOffers(t *testing.T, want map[string]string, lines, offered []string) {
	t.Helper()
	if len(offered) != len(lines) {
		t.Fatalf("%d answers to %d lines: %q", len(offered), len(lines), offered)
	}
	for i, line := range lines {
		words := strings.Fields(offered[i])
		for j, w := range words {
			_, value, isOption := strings.Cut(w, "=")
			if !isOption {
				value = path.Base(w)
			}
			words[j] = value
		}
		slices.Sort(words)
		if got := strings.Join(words, " "); got != want[line] {
			t.Errorf("Tab after %q offers %q, want %q", line, got, want[line])
		}
	}
}

// bashOffers calls the function as bash does, which takes "=" for a word.
func bashOffers(t *testing.T, library string, lines []string) []string {
	const tab = `
source "$1" && source "$2" && COMP_LINE=$3 COMP_POINT=${#3} && shift 3
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_gatepass
echo "${COMPREPLY[*]}"`
	bash, script := shell(t, "bash")
	var offered []string
	for _, line := range lines {
		words := strings.Split(strings.ReplaceAll(line, "=", " = "), " ")
		if strings.HasSuffix(line, "=") {
			words = words[:len(words)-1]
		}
		args := append([]string{"--norc", "-c", tab, "bash", library, script, line}, words...)
		offered = append(offered, strings.TrimSpace(shellSays(t, bash, args...)))
	}
	return offered
}

func zshOffers(t *testing.T, lines []string) []string {
	zsh, script := shell(t, "zsh")
	text := shellSays(t, zsh, append([]string{"-f", "testdata/tab.zsh", script}, lines...)...)
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// fishOffers asks fish, which answers a word and its description per line.
func fishOffers(t *testing.T, lines []string) []string {
	fish, script := shell(t, "fish")
	var offered []string
	for _, line := range lines {
		var words []string
		for answer := range strings.Lines(shellSays(t, fish, "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, line)) {
			word, _, _ := strings.Cut(strings.TrimSpace(answer), "\t")
			words = append(words, word)
		}
		offered = append(offered, strings.Join(words, " "))
	}
	return offered
}

// shell returns the program and a file with our script for it.
func shell(t *testing.T, name string) (program, script string) {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		t.Skip("missing: " + name)
	}
	script = filepath.Join(t.TempDir(), "gatepass")
	if err := os.WriteFile(script, []byte(shells[name]), 0o600); err != nil {
		t.Fatal(err)
	}
	return program, script
}

// shellSays is what a shell prints, which must not complain.
func shellSays(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v: %s", program, err, &stderr)
	}
	return string(out)
}
