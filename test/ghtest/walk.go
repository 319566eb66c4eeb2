package ghtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub/hub"
)

// A Scene is acme/widgets before Walk: an issue with six comments, a pull request from
// the branch other, and a run with a log and an artifact.
type Scene struct {
	Hub         *hub.Hub
	Issue, Pull int
	Run         int64
}

// Prepare makes the scene in the double.
func Prepare(t *testing.T, h *hub.Hub) Scene {
	t.Helper()
	w := Scene{Hub: h}
	var comments []string
	for n := range 6 {
		comments = append(comments, fmt.Sprintf("comment %d", n+1))
	}
	var err error
	w.Issue, err = w.Hub.AddIssue("acme", "widgets", "acme", "It squeaks", comments...)
	must(t, err)
	_, err = w.Hub.Commit("acme", "widgets", "other", "Oil it", map[string]string{"oil.txt": "oil\n"})
	must(t, err)
	w.Pull, err = w.Hub.AddPull("acme", "widgets", "acme", "Oil the widget", "other", "main")
	must(t, err)
	w.Run, err = w.Hub.AddRun("acme", "widgets", hub.Run{
		Workflow: "CI", Branch: "other",
		Jobs:      []hub.Job{{Name: "build", Steps: []hub.Step{{Name: "Compile", Log: "compiling the widget"}, {Name: "Test", Log: "the widget works"}}}},
		Artifacts: map[string]map[string]string{"report": {"report.txt": "all is well\n"}},
	})
	must(t, err)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Walk does what an agent does with gh, in a clone of acme/widgets that it makes
// itself. Only the environment says which host and token to use. It returns the clone.
func (p *Place) Walk(t *testing.T, w Scene) (dir string) {
	t.Helper()
	dir = t.TempDir()
	p.Run(dir, "repo", "clone", "acme/widgets")
	dir = filepath.Join(dir, "widgets")
	p.Run(dir, "git", "switch", "-q", "-c", "agent/grease")
	must(t, os.WriteFile(filepath.Join(dir, "grease.txt"), []byte("grease\n"), 0o600))
	p.Run(dir, "git", "add", ".")
	p.Run(dir, "git", "commit", "-q", "-m", "Grease the widget", "-m", "It squeaked.")
	p.Run(dir, "git", "push", "-q", "-u", "origin", "HEAD")
	pulls(t, p, w, dir)
	issues(p, w, dir)
	pages(t, p, w, dir)
	runs(t, p, w, dir)
	p.Shows(dir, "acme/widgets", "repo", "view")
	everyField(p, dir, "repo", "view")
	everyField(p, dir, "pr", "view", strconv.Itoa(w.Pull))
	everyField(p, dir, "pr", "list")
	everyField(p, dir, "issue", "view", strconv.Itoa(w.Issue))
	everyField(p, dir, "issue", "list")
	return dir
}

// everyField requests all fields that gh knows of an object, except projects, which a
// repository's token cannot access.
func everyField(p *Place, dir string, args ...string) {
	_, known, _ := p.Try(dir, append(args, "--json")...) // the error lists the fields
	fields := slices.DeleteFunc(strings.Fields(known[strings.LastIndex(known, ":")+1:]), func(f string) bool { return strings.HasPrefix(f, "project") })
	p.Shows(dir, "{", append(args, "--json", strings.Join(fields, ","))...)
}

func pulls(t *testing.T, p *Place, w Scene, dir string) {
	url := strings.TrimSpace(p.Run(dir, "pr", "create", "--fill"))
	page := fmt.Sprintf("/acme/widgets/pull/%d", w.Pull+1)
	if want := p.Pages + page; url != want {
		t.Errorf("pr create prints %s, want %s", url, want)
	}
	p.Shows(dir, "Grease the widget|OPEN|It squeaked.", "pr", "view")
	p.Shows(dir, "Grease the widget", "pr", "view", "https://"+p.Host+page)
	p.Shows(dir, "Grease the widget", "pr", "status")
	p.Shows(dir, "Oil the widget|agent/grease", "pr", "list")
	p.Shows(dir, "+grease", "pr", "diff")
	p.Run(dir, "pr", "comment", "--body", "Please review")
	p.Shows(dir, "Please review", "pr", "view", "--comments")
	p.Run(dir, "pr", "checkout", strconv.Itoa(w.Pull))
	if branch := strings.TrimSpace(p.Run(dir, "git", "branch", "--show-current")); branch != "other" {
		t.Errorf("pr checkout is on %s, want other", branch)
	}
	p.Shows(dir, "build", "pr", "checks", strconv.Itoa(w.Pull))
}

func issues(p *Place, w Scene, dir string) {
	number := strconv.Itoa(w.Issue)
	p.Shows(dir, "It squeaks", "issue", "list")
	p.Shows(dir, "comment 6", "issue", "view", number, "--comments")
	p.Shows(dir, "#issuecomment-", "issue", "comment", number, "--body", "Seen")
	p.Shows(dir, "/issues/", "issue", "create", "--title", "It is red", "--body", "Why?")
	p.Shows(dir, "It is red", "issue", "list")
	p.Run(dir, "issue", "close", number)
}

// pages reads three pages by REST and by GraphQL.
func pages(t *testing.T, p *Place, w Scene, dir string) {
	for n := range 6 {
		_, err := w.Hub.AddIssue("acme", "widgets", "acme", fmt.Sprintf("Page %d", n))
		must(t, err)
	}
	out := p.Run(dir, "api", "--paginate", "repos/{owner}/{repo}/issues?state=open&per_page=3", "--jq", ".[].title")
	if got := strings.Count(out, "Page "); got != 6 {
		t.Errorf("api --paginate shows %d of 6 issues:\n%s", got, out)
	}
	const query = `query($owner: String!, $repo: String!, $endCursor: String) { repository(owner: $owner, name: $repo) {
		issues(first: 3, after: $endCursor, states: OPEN) { nodes { title } pageInfo { hasNextPage endCursor } } } }`
	out = p.Run(dir, "api", "graphql", "--paginate", "-F", "owner={owner}", "-F", "repo={repo}", "-f", "query="+query, "--jq", ".data.repository.issues.nodes[].title")
	if got := strings.Count(out, "Page "); got != 6 {
		t.Errorf("api graphql --paginate shows %d of 6 issues:\n%s", got, out)
	}
}

func runs(t *testing.T, p *Place, w Scene, dir string) {
	id := strconv.FormatInt(w.Run, 10)
	p.Shows(dir, "CI", "run", "list")
	p.Shows(dir, "build", "run", "view", id)
	p.Shows(dir, "compiling the widget|the widget works", "run", "view", id, "--log")
	into := t.TempDir()
	p.Run(dir, "run", "download", id, "--dir", into)
	if text, err := os.ReadFile(filepath.Join(into, "report", "report.txt")); err != nil || string(text) != "all is well\n" {
		t.Errorf("run download: %q, %v", text, err)
	}
}
