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
	"unicode/utf8"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/urfave/cli/v2"
)

// TestHelpFits: no line of any command's help is wider than 80 columns, except text to
// copy.
func TestHelpFits(t *testing.T) {
	var walk func(path []string, commands []*cli.Command)
	walk = func(path []string, commands []*cli.Command) {
		help, _, status := gatepass(t.Context(), append(path, "--help")...)
		if status != command.ExitDone {
			t.Errorf("gatepass %v --help: %d", path, status)
		}
		section := ""
		for line := range strings.Lines(help) {
			line = strings.TrimSuffix(line, "\n")
			if line != "" && line[0] != ' ' {
				section = line
			}
			isCopied := section == "DESCRIPTION:" && strings.HasPrefix(line, "    ")
			if utf8.RuneCountInString(line) > helpWidth && !isCopied {
				t.Errorf("gatepass %s --help: %q", strings.Join(path, " "), line)
			}
		}
		for _, c := range commands {
			if !c.Hidden {
				walk(append(path[:len(path):len(path)], c.Name), c.Subcommands)
			}
		}
	}
	w := &command.Environment{Getenv: func(string) string { return "" }}
	walk(nil, commands(w))
}

func TestFoldHelp(t *testing.T) {
	const text = `NAME:
   gatepass x - does one thing after another and then some more

DESCRIPTION:
   One sentence that was set
   for another width than this.

   Examples:
     gatepass x --with-an-option VALUE --and-another VALUE

OPTIONS:
   --option VALUE  what the option does, said at some length
   --store ssm:///a-word-that-fits-no-line-of-this-width  short
`
	const want = `NAME:
   gatepass x - does one thing after
       another and then some more

DESCRIPTION:
   One sentence that was set for another
   width than this.

   Examples:
     gatepass x --with-an-option VALUE --and-another VALUE

OPTIONS:
   --option VALUE  what the option does,
                   said at some length
   --store
       ssm:///a-word-that-fits-no-line-of-this-width
       short
`
	if got := foldHelp(text, 40); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func testApp() *cli.App { return cliApp(&command.Environment{}) }

// offered returns the completions after the words of at.
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

// tabs are the completions that every shell offers for the last word of a line.
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

// otherCommand is a line whose last word another command completes.
const otherCommand = "gatepass exec -- gatepass uni"

// TestShellsComplete presses Tab in real shells.
func TestShellsComplete(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every shell many times")
	}
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

// sameOffers compares the completions of each line, without what some shells repeat of
// the typed word: the folder, or the option before "=".
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

// bashOffers calls the function like bash, which takes "=" as a word.
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

// fishOffers asks fish, which returns a word and its description per line.
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

// shellSays returns the output of a shell, which must not print errors.
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

func TestOptionsFirst(t *testing.T) {
	commands := []*cli.Command{
		{Name: "policy", Subcommands: []*cli.Command{{
			Name: "check", Aliases: []string{"c"},
			Flags: []cli.Flag{&cli.StringSliceFlag{Name: "verb"}, &cli.BoolFlag{Name: "json"}},
		}}},
		{Name: command.ExecName, Flags: []cli.Flag{&cli.StringFlag{Name: "repo"}}},
	}
	for typed, want := range map[string]string{
		"":                                     "",
		"--help":                               "--help",
		"policy":                               "policy",
		"policy nope --json":                   "policy nope --json",
		"policy check main":                    "policy check main",
		"policy check main --verb force dev":   "policy check --verb force main dev",
		"policy c main --verb=force --json":    "policy c --verb=force --json main",
		"policy check a --verb":                "policy check --verb a",
		"policy check a - b --nope c":          "policy check --nope a - b c",
		"policy check a -- --verb b":           "policy check -- a --verb b",
		"policy check a --json -- -b":          "policy check --json -- a -b",
		"exec --repo a/b gh pr list --repo c":  "exec --repo a/b gh pr list --repo c",
		"exec -- gh --json x":                  "exec -- gh --json x",
		"policy check main --verb -- --json x": "policy check --verb -- --json main x",
	} {
		if got := strings.Join(command.OptionsFirst(commands, strings.Fields(typed)), " "); got != want {
			t.Errorf("optionsFirst(%q) = %q, want %q", typed, got, want)
		}
	}
}
