package ghtest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/fakegithub/hub"
	"github.com/gatepass/gatepass/test/ghtest"
)

const host = "github.example.test"

// A world is a double of GitHub as gh needs it, and what a token for it may do.
type world struct {
	*fakegithub.Server
	hub   *hub.Hub
	token string
	issue int // with six comments
	pull  int // of the branch other
	run   int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := fakegithub.New(fakegithub.Options{Root: t.TempDir(), Names: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w := &world{Server: s}
	w.hub, err = hub.Attach(s)
	must(t, err)
	w.hub.SetEnterprise("3.20.0")
	must(t, s.AddAccount("acme", fakegithub.Organization))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	app, err := s.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&key.PublicKey}, Permissions: fakegithub.Permissions{
		"contents": "write", "pull_requests": "write", "issues": "write", "actions": "read", "checks": "read", "statuses": "read",
	}})
	must(t, err)
	_, err = s.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"})
	must(t, err)
	in, err := s.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	must(t, err)
	w.token, err = s.MintFor(in.ID, []string{"widgets"}, nil)
	must(t, err)
	w.seed(t)
	return w
}

func (w *world) seed(t *testing.T) {
	t.Helper()
	var comments []string
	for n := range 6 {
		comments = append(comments, fmt.Sprintf("comment %d", n+1))
	}
	var err error
	w.issue, err = w.hub.AddIssue("acme", "widgets", "acme", "It squeaks", comments...)
	must(t, err)
	_, err = w.hub.Commit("acme", "widgets", "other", "Oil it", map[string]string{"oil.txt": "oil\n"})
	must(t, err)
	w.pull, err = w.hub.AddPull("acme", "widgets", "acme", "Oil the widget", "other", "main")
	must(t, err)
	w.run, err = w.hub.AddRun("acme", "widgets", hub.Run{
		Workflow: "CI", Branch: "other",
		Jobs:      []hub.Job{{Name: "build", Steps: []hub.Step{{Name: "Compile", Log: "compiling the widget"}, {Name: "Test", Log: "the widget works"}}}},
		Artifacts: map[string]map[string]string{"report": {"report.txt": "all is well\n"}},
	})
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gh is used as an agent uses it, in a clone that it made itself, and is told by the
// environment alone which host and which token to use.
func TestGhInAPlainClone(t *testing.T) {
	t.Parallel()
	for _, program := range ghtest.Programs() {
		t.Run(program.Name, func(t *testing.T) {
			t.Parallel()
			program.Need(t)
			w := newWorld(t)
			p := &ghtest.Place{Program: program, Host: host, Addr: w.Host(), CA: w.CAPEM(), Token: w.token}
			p.Start(t)
			walk(t, p, w)
		})
	}
}

func walk(t *testing.T, p *ghtest.Place, w *world) {
	dir := t.TempDir()
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
	everyField(p, dir, "pr", "view", strconv.Itoa(w.pull))
	everyField(p, dir, "pr", "list")
	everyField(p, dir, "issue", "view", strconv.Itoa(w.issue))
	everyField(p, dir, "issue", "list")
}

// everyField asks for all that gh knows of something, but for projects, which are no
// matter of a repository's token.
func everyField(p *ghtest.Place, dir string, args ...string) {
	_, known, _ := p.Try(dir, append(args, "--json")...) // which says what may follow
	fields := slices.DeleteFunc(strings.Fields(known[strings.LastIndex(known, ":")+1:]), func(f string) bool { return strings.HasPrefix(f, "project") })
	p.Shows(dir, "{", append(args, "--json", strings.Join(fields, ","))...)
}

func pulls(t *testing.T, p *ghtest.Place, w *world, dir string) {
	url := strings.TrimSpace(p.Run(dir, "pr", "create", "--fill"))
	want := fmt.Sprintf("https://%s/acme/widgets/pull/%d", host, w.pull+1)
	if url != want {
		t.Errorf("pr create prints %s, want %s", url, want)
	}
	p.Shows(dir, "Grease the widget|OPEN|It squeaked.", "pr", "view")
	p.Shows(dir, "Grease the widget", "pr", "view", url)
	p.Shows(dir, "Grease the widget", "pr", "status")
	p.Shows(dir, "Oil the widget|agent/grease", "pr", "list")
	p.Shows(dir, "+grease", "pr", "diff")
	p.Run(dir, "pr", "comment", "--body", "Please review")
	p.Shows(dir, "Please review", "pr", "view", "--comments")
	p.Run(dir, "pr", "checkout", strconv.Itoa(w.pull))
	if branch := strings.TrimSpace(p.Run(dir, "git", "branch", "--show-current")); branch != "other" {
		t.Errorf("pr checkout is on %s, want other", branch)
	}
	p.Shows(dir, "build", "pr", "checks", strconv.Itoa(w.pull))
}

func issues(p *ghtest.Place, w *world, dir string) {
	number := strconv.Itoa(w.issue)
	p.Shows(dir, "It squeaks", "issue", "list")
	p.Shows(dir, "comment 6", "issue", "view", number, "--comments")
	p.Shows(dir, "#issuecomment-", "issue", "comment", number, "--body", "Seen")
	p.Shows(dir, "/issues/", "issue", "create", "--title", "It is red", "--body", "Why?")
	p.Shows(dir, "It is red", "issue", "list")
	p.Run(dir, "issue", "close", number)
}

// pages reads three pages by REST and by GraphQL.
func pages(t *testing.T, p *ghtest.Place, w *world, dir string) {
	for n := range 6 {
		_, err := w.hub.AddIssue("acme", "widgets", "acme", fmt.Sprintf("Page %d", n))
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

func runs(t *testing.T, p *ghtest.Place, w *world, dir string) {
	id := strconv.FormatInt(w.run, 10)
	p.Shows(dir, "CI", "run", "list")
	p.Shows(dir, "build", "run", "view", id)
	p.Shows(dir, "compiling the widget|the widget works", "run", "view", id, "--log")
	into := t.TempDir()
	p.Run(dir, "run", "download", id, "--dir", into)
	if text, err := os.ReadFile(filepath.Join(into, "report", "report.txt")); err != nil || string(text) != "all is well\n" {
		t.Errorf("run download: %q, %v", text, err)
	}
	for _, d := range w.hub.Downloads() {
		if d.Authorization || d.Status != 200 {
			t.Errorf("storage was asked with a token, or refused: %+v", d)
		}
	}
}
