package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func testApp() *cli.App { return (&app{}).app() }

// offered returns the words that are offered where the words of at precede.
func offered(at string) map[string]bool {
	words := map[string]bool{}
	for _, current := range []string{"", "-"} {
		for offer := range strings.Lines(offers(testApp(), append(strings.Fields(at), current))) {
			word, _, _ := strings.Cut(strings.TrimSpace(offer), "\t")
			words[word] = true
		}
	}
	return words
}

func TestCompletionKnowsTheCommands(t *testing.T) {
	for _, c := range []struct{ at, word string }{
		{"", "install"},
		{"", "--help"},
		{"policy", "check"},
		{"policy check", "--verb"},
		{"install", "-n"},
		{"completion", "zsh"},
		{"app create", "--org"},
	} {
		if !offered(c.at)[c.word] {
			t.Errorf("after gatepass %s, %q is not offered", c.at, c.word)
		}
	}
	for _, hidden := range []string{"man", "complete", "help"} {
		if offered("")[hidden] {
			t.Errorf("the hidden command %s is offered", hidden)
		}
	}
}

func TestCompletionKnowsTheValues(t *testing.T) {
	for line, want := range map[string]string{
		"install --root ":           ":directory\n",
		"install --root=/de":        ":directory\n",
		"install --host ":           "",
		"policy check --verb ":      "create\nupdate\nforce\ndelete\nmove\n",
		"token --format=j":          "--format=text\n--format=json\n",
		"token --format = j":        "text\njson\n",
		"exec -- ":                  ":command\t3\n",
		"exec --repo a/b -- ls -l ": ":command\t5\n",
		"token -- ":                 "",
	} {
		if got := offers(testApp(), strings.Split(line, " ")); got != want {
			t.Errorf("after gatepass %s, %q is offered, want %q", line, got, want)
		}
	}
	if got := offered("install --json"); got[":file"] || got[":directory"] {
		t.Errorf("--json takes no value, and %v is offered for it", got)
	}
}

// TestChoicesAreOfOptionsThatExist keeps the table true when commands change.
func TestChoicesAreOfOptionsThatExist(t *testing.T) {
	for key, values := range choices {
		at, option, isOption := strings.Cut(key, " --")
		if isOption && !offered(at)["--"+option] || !offered(key)[values[0]] {
			t.Errorf("there are choices for %q, and no such option or argument", key)
		}
	}
}
