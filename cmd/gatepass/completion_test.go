package main

import (
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
		{" app create", "--org"},
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
