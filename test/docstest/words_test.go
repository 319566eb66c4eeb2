package docstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	span        = regexp.MustCompile("`([^`\n]+)`")
	longFlag    = regexp.MustCompile(`(?:^|[ \[(|])(--[a-z][a-z0-9-]*)`)
	ourMetric   = regexp.MustCompile(`\b(gatepass_(?:app|broker|build|clock|github|operator|probe|refresher|token|tokens)_[a-z0-9_]+[a-z0-9])(?:[^a-z0-9_]|$)`)
	ourOwn      = regexp.MustCompile(`\bGATEPASS_[A-Z_]*[A-Z]`)
	nextCommand = regexp.MustCompile(`&&|\|\||[|;]`)
	aWord       = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
)

// A cli is what the page of the command line says: the options of each command, by its
// name.
type cli map[string]map[string]bool

// readCLI reads the page, which is made of what the programs say.
func readCLI(t *testing.T) cli {
	t.Helper()
	all := cli{}
	for section := range strings.SplitSeq(read(t, "docs/reference/cli.md"), "\n## ") {
		name, text, _ := strings.Cut(section, "\n")
		options := map[string]bool{"--help": true, "--version": true}
		for _, m := range longFlag.FindAllStringSubmatch(text, -1) {
			options[m[1]] = true
		}
		all[name] = options
	}
	if len(all) < 40 {
		t.Fatalf("the page has %d commands, want all of them", len(all))
	}
	return all
}

// command returns the longest command that the words begin with, and what follows.
func (c cli) command(words []string) (name string, rest []string) {
	for n := len(words); n > 0; n-- {
		if name := strings.Join(words[:n], " "); c[name] != nil {
			return name, words[n:]
		}
	}
	return "", nil
}

// has reports whether any command has the option.
func (c cli) has(option string) bool {
	for _, options := range c {
		if options[option] {
			return true
		}
	}
	return false
}

// ofOthers are options of other programs that pages name by themselves.
var ofOthers = []string{
	"--no-verify", "--receive-pack", "--exec", "--atomic", "--force-with-lease", // git
	"--uninstall",           // install.sh
	"--setup", "--discover", // what docs/migrating.md comes from
}

// commandsIn are the commands of our programs on a page: of its examples by lines, and of
// its prose.
func commandsIn(page string) (all []string) {
	examples, prose := blocks(page)
	for _, b := range examples {
		text := strings.ReplaceAll(b.text, "\\\n", " ")
		for line := range strings.Lines(text) {
			all = append(all, nextCommand.Split(line, -1)...)
		}
	}
	for _, m := range span.FindAllStringSubmatch(prose, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestPagesNameCommandsAndOptionsThatAreThere: an option that a page gives a command is one
// of that command.
func TestPagesNameCommandsAndOptionsThatAreThere(t *testing.T) {
	known, commands, options := readCLI(t), 0, 0
	for _, page := range pages(t) {
		if page == "docs/reference/cli.md" || page == "CHANGELOG.md" || page == "ARCHITECTURE.md" {
			continue
		}
		for _, text := range commandsIn(read(t, page)) {
			text, _, _ = strings.Cut(text, " #")
			words := strings.Fields(strings.TrimLeft(text, "$ ("))
			for len(words) > 0 && (words[0] == "sudo" || words[0] == "exec" || strings.Contains(words[0], "=")) {
				words = words[1:]
			}
			if len(words) == 0 {
				continue
			}
			words[0] = strings.TrimPrefix(words[0], "bin/")
			name, rest := known.command(words)
			if name == "" {
				if strings.HasPrefix(words[0], "--") && aWord.MatchString(strings.TrimLeft(words[0], "-")) && !known.has(words[0]) && !contains(ofOthers, words[0]) {
					t.Errorf("%s: no program has the option %s", page, words[0])
				}
				continue
			}
			commands++
			if name == "gatepass" && len(rest) > 0 && aWord.MatchString(rest[0]) {
				t.Errorf("%s: gatepass has no command %s: %s", page, rest[0], strings.TrimSpace(text))
			}
			rest, _, _ = cutAt(rest, "--")
			for _, m := range longFlag.FindAllStringSubmatch(strings.Join(rest, " "), -1) {
				options++
				if !known[name][m[1]] {
					t.Errorf("%s: %s has no option %s: %s", page, name, m[1], strings.TrimSpace(text))
				}
			}
		}
	}
	t.Logf("%d commands and %d options were looked at", commands, options)
	if commands < 250 || options < 100 {
		t.Errorf("%d commands and %d options were looked at, want all of them", commands, options)
	}
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// cutAt splits words at one of them.
func cutAt(words []string, at string) (before, after []string, found bool) {
	for i, w := range words {
		if w == at {
			return words[:i], words[i+1:], true
		}
	}
	return words, nil, false
}

// TestPagesNameMetricsAndVariablesThatAreThere: those that pages and alerts name, programs have.
func TestPagesNameMetricsAndVariablesThatAreThere(t *testing.T) {
	metrics, variables := read(t, "docs/reference/metrics.md"), read(t, "docs/reference/environment.md")
	alerts, err := filepath.Glob(root + "/deploy/prometheus/*.yaml")
	if err != nil || len(alerts) < 4 {
		t.Fatalf("alerts = %v, %v", alerts, err)
	}
	all := pages(t)
	for _, a := range alerts {
		all = append(all, strings.TrimPrefix(filepath.ToSlash(a), root+"/"))
	}
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, page := range all {
		text := read(t, page)
		for _, m := range ourMetric.FindAllStringSubmatch(text, -1) {
			name := m[1]
			if base := suffix.ReplaceAllString(name, ""); !strings.Contains(metrics, "`"+name+"`") && !strings.Contains(metrics, "`"+base+"`") {
				t.Errorf("%s: no program has the metric %s", page, name)
			}
		}
		for _, name := range ourOwn.FindAllString(text, -1) {
			if !strings.Contains(variables, "`"+name+"`") && !strings.HasPrefix(name, "GATEPASS_TEST_") {
				t.Errorf("%s: no program reads %s", page, name)
			}
		}
	}
}

// source is what the programs can say: their Go text.
func source(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && (path == root+"/test" || strings.HasPrefix(e.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

var (
	message = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
	// What stands for something else in a message.
	filledIn = regexp.MustCompile(`…|https://|\bHOST\b|[a-z]+/x\b|refs/heads/x|gatepass-agent|trust|\([a-z]+\)|: |; `)
)

// TestMessagesAreThoseOfThePrograms: what troubleshooting quotes, the programs say.
func TestMessagesAreThoseOfThePrograms(t *testing.T) {
	said, looked := source(t), 0
	for _, m := range message.FindAllStringSubmatch(read(t, "docs/troubleshooting.md"), -1) {
		for _, part := range filledIn.Split(m[1], -1) {
			part = strings.TrimSpace(part)
			if len(part) < 8 || part == "no such file or directory" {
				continue
			}
			looked++
			if !strings.Contains(said, part) {
				t.Errorf("docs/troubleshooting.md: no program says %q, of %q", part, m[1])
			}
		}
	}
	if looked < 10 {
		t.Errorf("%d parts of messages were looked at, want all of them", looked)
	}
}
