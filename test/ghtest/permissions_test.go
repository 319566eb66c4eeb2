package ghtest_test

import (
	"encoding/pem"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/ghtest"
)

var writeTable = flag.Bool("write-table", false, "write the table of gh's commands and permissions into docs/gateway.md")

// most are the permissions that the table's commands are tried with, at their highest.
var most = map[string]string{"contents": "write", "pull_requests": "write", "issues": "write", "actions": "write", "checks": "read", "statuses": "read"}

// A trial is a command of gh. Of what it changes, each run has something of its own.
type trial struct {
	name string
	args func(n int) string
}

func (w *permissionsWorld) trials() []trial {
	pull, issue, run := strconv.Itoa(w.scene.Pull), strconv.Itoa(w.scene.Issue), strconv.FormatInt(w.scene.Run, 10)
	always := func(args string) func(int) string { return func(int) string { return args } }
	return []trial{
		{"repo view", always("repo view REPO")},
		{"pr list", always("pr list -R REPO")},
		{"pr view", always("pr view " + pull + " -R REPO")},
		{"pr diff", always("pr diff " + pull + " -R REPO")},
		{"pr checks", always("pr checks " + pull + " -R REPO")},
		{"pr create", func(n int) string {
			return fmt.Sprintf("pr create -R REPO --head %s --base main --title T --body B", w.branch(n))
		}},
		{"pr comment", always("pr comment " + pull + " -R REPO --body B")},
		{"pr edit --title", func(n int) string { return fmt.Sprintf("pr edit %s -R REPO --title T%d", pull, n) }},
		{"pr review --comment", always("pr review " + pull + " -R REPO --comment --body B")},
		{"pr merge", always("pr merge " + pull + " -R REPO --merge")},
		{"issue list", always("issue list -R REPO")},
		{"issue view", always("issue view " + issue + " -R REPO")},
		{"issue create", always("issue create -R REPO --title T --body B")},
		{"issue comment", always("issue comment " + issue + " -R REPO --body B")},
		{"issue close", func(int) string { return fmt.Sprintf("issue close %d -R REPO", w.issue()) }},
		{"label create", func(n int) string { return fmt.Sprintf("label create l%d -R REPO --color ff0000", n) }},
		{"run list", always("run list -R REPO")},
		{"run view --log", always("run view " + run + " -R REPO --log")},
		{"run download", func(n int) string { return fmt.Sprintf("run download %s -R REPO --dir d%d", run, n) }},
		{"workflow list", always("workflow list -R REPO")},
		{"release list", always("release list -R REPO")},
		{"release create", func(n int) string { return fmt.Sprintf("release create v%d -R REPO --notes N", n) }},
	}
}

// A permissionsWorld tries commands with one profile after the other.
type permissionsWorld struct {
	t     *testing.T
	g     *brokertest.Gateway
	scene ghtest.Scene
	p     *ghtest.Place
	dir   string
	tried int
}

func (w *permissionsWorld) branch(n int) string {
	w.t.Helper()
	name := fmt.Sprintf("branch-%d", n)
	_, err := w.scene.Hub.Commit("acme", "widgets", name, name, map[string]string{name: name})
	must(w.t, err)
	return name
}

func (w *permissionsWorld) issue() int {
	w.t.Helper()
	n, err := w.scene.Hub.AddIssue("acme", "widgets", "acme", "To close")
	must(w.t, err)
	return n
}

// works reports whether a command works with a profile of these permissions, and what gh
// said.
func (w *permissionsWorld) works(c trial, permissions map[string]string) (bool, string) {
	w.t.Helper()
	if len(permissions) == 0 {
		permissions = map[string]string{"metadata": "read"}
	}
	var levels []string
	for _, name := range slices.Sorted(maps.Keys(permissions)) {
		levels = append(levels, name+": "+permissions[name])
	}
	w.g.SetProfile("{allowedRepos: [acme/widgets], permissions: {" + strings.Join(levels, ", ") + "}}")
	w.p.Token = w.g.Session("acme/widgets")
	w.tried++
	out, errs, err := w.p.Try(w.dir, strings.Fields(strings.ReplaceAll(c.args(w.tried), "REPO", w.p.Host+"/acme/widgets"))...)
	return err == nil, out + errs
}

// needs takes permissions away one by one, and returns the text of those without which the
// command does not work.
func (w *permissionsWorld) needs(c trial) string {
	w.t.Helper()
	if ok, said := w.works(c, most); !ok {
		if !strings.Contains(said, "Resource not accessible by integration") {
			w.t.Errorf("gh %s: %s", c.name, said)
		}
		return "refused whatever the profile says: it moves a ref"
	}
	have := maps.Clone(most)
	var needed []string
	for _, name := range leastFirst(c) {
		for _, level := range []string{"", "read"} {
			less := maps.Clone(have)
			if less[name] = level; level == "" {
				delete(less, name)
			}
			if ok, _ := w.works(c, less); ok {
				have = less
				break
			}
		}
		if level := have[name]; level != "" {
			needed = append(needed, "`"+name+": "+level+"`")
		}
	}
	if needed == nil {
		return "none"
	}
	slices.Sort(needed)
	return strings.Join(needed, ", ")
}

// leastFirst are the permissions in the order in which they are taken away: what the
// command is about last, since GitHub takes either of two for some calls.
func leastFirst(c trial) []string {
	last := "pull_requests"
	if strings.HasPrefix(c.name, "issue") || strings.HasPrefix(c.name, "label") {
		last = "issues"
	}
	names := slices.Sorted(maps.Keys(most))
	return append(slices.DeleteFunc(names, func(name string) bool { return name == last }), last)
}

// The table of docs/gateway.md says which permissions of a profile gh's commands need. It
// is what the double refuses, which goes by GitHub's documentation of permissions.
func TestTheTableOfPermissions(t *testing.T) {
	t.Parallel()
	program := ghtest.Programs()[1]
	program.Need(t)
	g, h, server := newGateway(t)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	w := &permissionsWorld{t: t, g: g, scene: ghtest.Prepare(t, h), dir: t.TempDir()}
	w.p = &ghtest.Place{Program: program, Host: "example.com", Addr: server.Listener.Addr().String(), CA: ca}
	w.p.Start(t)
	table := "| gh | permissions that the profile needs |\n|---|---|\n"
	for _, c := range w.trials() {
		table += "| `" + c.name + "` | " + w.needs(c) + " |\n"
	}
	path := filepath.Join("..", "..", "docs", "gateway.md")
	page, err := os.ReadFile(path)
	must(t, err)
	const begin, end = "<!-- gh and permissions: made by test/ghtest -->\n", "<!-- end -->\n"
	before, rest, found := strings.Cut(string(page), begin)
	was, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("docs/gateway.md has no place for the table:\n%s", table)
	}
	if *writeTable {
		must(t, os.WriteFile(path, []byte(before+begin+table+end+after), 0o644))
	} else if was != table {
		t.Errorf("docs/gateway.md has another table; go test ./test/ghtest -run TableOfPermissions -write-table, with %s set, writes this one:\n%s", ghtest.NewestVariable, table)
	}
}
