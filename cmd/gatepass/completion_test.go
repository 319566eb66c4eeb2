package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func testApp() *cli.App { return (&world{}).app() }

// offered returns what the completion knows at a place, by word.
func offered(at string) map[string]described {
	words := map[string]described{}
	for _, c := range completions(testApp()) {
		if c.at != at {
			continue
		}
		for _, d := range slices.Concat(c.words, c.options) {
			words[d.word] = d
		}
	}
	return words
}

func TestCompletionKnowsTheCommands(t *testing.T) {
	for _, c := range []struct{ at, word string }{
		{"", "install"},
		{"", "--help"},
		{" policy", "check"},
		{" policy check", "--verb"},
		{" install", "-n"},
		{" completion", "zsh"},
	} {
		if _, ok := offered(c.at)[c.word]; !ok {
			t.Errorf("after gatepass%s, %q is not offered", c.at, c.word)
		}
	}
	if _, ok := offered("")["man"]; ok {
		t.Error("a hidden command is offered")
	}
	for word, want := range map[string]valueKind{"--root": directory, "--json": none, "--guard": chosen, "--host": text} {
		if got := offered(" install")[word].value; got != want {
			t.Errorf("install %s wants a value of kind %v, want %v", word, got, want)
		}
	}
}

// TestChoicesAreOfOptionsThatExist keeps the table true when commands change.
func TestChoicesAreOfOptionsThatExist(t *testing.T) {
	for key := range choices {
		at, option, isOption := strings.Cut(key, " --")
		if words := offered(at); len(words) == 0 || isOption && words["--"+option].value != chosen {
			t.Errorf("there are choices for %q, and no such option or argument", key)
		}
	}
}

// TestBashCompletes presses Tab in a real bash.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("missing: bash")
	}
	script := filepath.Join(t.TempDir(), "gatepass")
	if err := os.WriteFile(script, []byte(bashCompletion(completions(testApp()))), 0o600); err != nil {
		t.Fatal(err)
	}
	const tab = `source "$0" && COMP_WORDS=("$@") && COMP_CWORD=$(($# - 1)) && _gatepass && echo "${COMPREPLY[*]}"`
	for typed, want := range map[string]string{
		"gatepass uni":                           "uninstall",
		"gatepass policy .":                      "check explain export",
		"gatepass policy check --v":              "--verb",
		"gatepass policy check --verb f":         "force",
		"gatepass install --guard = h":           "hook hooks-path",
		"gatepass install --guard =":             "auto hook hooks-path both none",
		"gatepass install --host .":              "",
		"gatepass install --root /de":            "/dev",
		"gatepass exec --repo a/b -- ls /dev/nu": "/dev/null",
		"gatepass nonsense uninst":               "uninstall",
	} {
		args := strings.Fields(typed)
		if args[len(args)-1] == "." { // stands for nothing typed yet
			args[len(args)-1] = ""
		}
		var stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), bash, append([]string{"--norc", "-c", tab, script}, args...)...)
		cmd.Stderr = &stderr
		out, _ := cmd.Output() // the status is that of compgen, 1 where nothing fits
		got := strings.TrimSpace(string(out))
		if got != want || stderr.Len() > 0 {
			t.Errorf("Tab after %q offers %q, want %q; %s", typed, got, want, &stderr)
		}
	}
}

// TestOtherShellsReadTheirScripts is as far as zsh and fish go without a terminal.
func TestOtherShellsReadTheirScripts(t *testing.T) {
	for _, shell := range []string{"zsh", "fish"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("missing: %s", shell)
			continue
		}
		cmd := exec.CommandContext(t.Context(), path, "-n")
		cmd.Stdin = strings.NewReader(shells[shell](completions(testApp())))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s -n: %v: %s", shell, err, out)
		}
	}
}
