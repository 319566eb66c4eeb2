package fakegithub

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	mayRead  = Permissions{"contents": "read"}
	mayWrite = Permissions{"contents": "write"}
)

// branch is what a ref of a repository on disk points at, or "".
func branch(t *testing.T, repo *Repository, ref string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "--git-dir="+repo.Dir, "rev-parse", "--verify", "--quiet", ref)
	out, _ := cmd.Output()
	return strings.TrimSpace(string(out))
}

func (w *world) stored(name string) *Repository {
	w.gh.mu.Lock()
	defer w.gh.mu.Unlock()
	return w.gh.state.repository("acme", name)
}

func TestGitCloneFetchPush(t *testing.T) {
	w := newWorld(t, Options{})
	one, two := w.workspace(w.token(mayWrite)), w.workspace(w.token(mayRead))
	one.clone("acme/widgets")
	two.clone("ACME/Widgets.git")
	one.commit("a.txt", []byte("a"))
	one.git("push", "--quiet", "origin", "HEAD:main", "HEAD:refs/tags/v1")
	two.git("fetch", "--quiet")
	head := strings.TrimSpace(one.git("rev-parse", "HEAD"))
	if got := strings.TrimSpace(two.git("rev-parse", "origin/main")); got != head {
		t.Errorf("fetched main = %s, want %s", got, head)
	}
	one.git("push", "--quiet", "--delete", "origin", "v1")
	if got := branch(t, w.stored("widgets"), "refs/tags/v1"); got != "" {
		t.Errorf("deleted tag = %s, want none", got)
	}
}

func TestGitProtocolVersions(t *testing.T) {
	w := newWorld(t, Options{})
	for _, version := range []string{"0", "1", "2"} {
		ws := w.workspace(w.token(mayRead))
		ws.clone("acme/widgets", "-c", "protocol.version="+version)
		ws.git("-c", "protocol.version="+version, "fetch", "--quiet", "origin", "main")
	}
	v2 := w.gh.Count(func(r Request) bool { return r.GitProtocol == "version=2" })
	if v2 == 0 {
		t.Error("no request spoke version 2")
	}
}

func TestGitShallowAndPartialClone(t *testing.T) {
	w := newWorld(t, Options{})
	full := w.workspace(w.token(mayWrite))
	full.clone("acme/widgets")
	for i := range 3 {
		full.commit(fmt.Sprintf("%d.txt", i), []byte("x"))
	}
	full.git("push", "--quiet", "origin", "HEAD:main")
	shallow := w.workspace(w.token(mayWrite))
	shallow.clone("acme/widgets", "--depth=1")
	if n := strings.TrimSpace(shallow.git("rev-list", "--count", "HEAD")); n != "1" {
		t.Errorf("commits of a shallow clone = %s, want 1", n)
	}
	shallow.commit("s.txt", []byte("s"))
	shallow.git("push", "--quiet", "origin", "HEAD:refs/heads/from-shallow")
	shallow.git("fetch", "--quiet", "--unshallow")
	w.workspace(w.token(mayRead)).clone("acme/widgets", "--filter=blob:none")
}

func TestGitRefusals(t *testing.T) {
	w := newWorld(t, Options{})
	reader := w.workspace(w.token(mayRead, "widgets"))
	reader.clone("acme/widgets")
	reader.commit("a.txt", []byte("a"))
	reader.refused("remote: Permission to acme/widgets.git denied to gatepass[bot].", "push", "origin", "HEAD:main")
	reader.refused("The requested URL returned error: 403", "push", "origin", "HEAD:main")
	reader.refused("remote: Repository not found.", "ls-remote", w.gh.URL()+"/acme/gadgets")
	reader.refused("remote: Repository not found.", "ls-remote", w.gh.URL()+"/acme/nothing")
	reader.git("ls-remote", w.gh.URL()+"/acme/site")

	blind := w.workspace(w.token(Permissions{"issues": "write"}))
	blind.refused("The requested URL returned error: 403", "ls-remote", w.gh.URL()+"/acme/widgets")

	stranger := w.workspace("ghs_" + strings.Repeat("x", 36))
	stranger.refused("Authentication failed", "ls-remote", w.gh.URL()+"/acme/widgets")
	// A public repository asks for nothing, so the bad token is never sent.
	stranger.git("ls-remote", w.gh.URL()+"/acme/site")
}

func TestGitAnonymous(t *testing.T) {
	w := newWorld(t, Options{})
	anonymous := w.workspace("")
	anonymous.clone("acme/site")
	anonymous.commit("a.txt", []byte("a"))
	anonymous.refused("Authentication failed", "push", "origin", "HEAD:main")
	anonymous.refused("Authentication failed", "ls-remote", w.gh.URL()+"/acme/widgets")
	anonymous.refused("Authentication failed", "ls-remote", w.gh.URL()+"/acme/nothing")
}

func TestGitTokenThatEnded(t *testing.T) {
	w := newWorld(t, Options{})
	ls := func(ws *workspace) []string { return []string{"ls-remote", w.gh.URL() + "/acme/widgets"} }

	revoked := w.workspace(w.token(mayRead))
	revoked.git(ls(revoked)...)
	if !w.gh.Revoke(revoked.token) || w.gh.Revoke(revoked.token) {
		t.Error("Revoke did not report a live token once")
	}
	revoked.refused("Authentication failed", ls(revoked)...)

	expired := w.workspace(w.token(mayRead))
	w.gh.Advance(59 * time.Minute)
	expired.git(ls(expired)...)
	w.gh.Advance(time.Minute)
	expired.refused("Authentication failed", ls(expired)...)

	suspended := w.workspace(w.token(mayRead))
	w.must(w.gh.Suspend(w.inst.ID, true))
	suspended.refused("403", ls(suspended)...)
	w.must(w.gh.Suspend(w.inst.ID, false))
	suspended.git(ls(suspended)...)
	w.must(w.gh.RemoveInstallation(w.inst.ID))
	suspended.refused("Authentication failed", ls(suspended)...)
}

func TestGitBigPushIsChunkedAfterAProbe(t *testing.T) {
	w := newWorld(t, Options{})
	ws := w.workspace(w.token(mayWrite))
	ws.clone("acme/widgets")
	big := make([]byte, 3<<20)
	_, _ = rand.Read(big)
	ws.commit("big.bin", big)
	w.gh.ResetRequests()
	ws.git("push", "--quiet", "origin", "HEAD:main")
	var posts []Request
	for _, r := range w.gh.Requests() {
		if r.Method == http.MethodPost {
			posts = append(posts, r)
		}
	}
	if len(posts) != 2 || posts[0].ContentLength != 4 || !posts[1].Chunked {
		t.Errorf("posts = %+v, want a probe of 4 bytes and a chunked push", posts)
	}
	if got, want := branch(t, w.stored("widgets"), "refs/heads/main"), strings.TrimSpace(ws.git("rev-parse", "HEAD")); got != want {
		t.Errorf("main = %s, want %s", got, want)
	}
}

// With nothing in common git names all its commits, and compresses that.
func TestGitCompressesALongNegotiation(t *testing.T) {
	w := newWorld(t, Options{})
	ws := w.workspace(w.token(mayRead))
	ws.git("init", "--quiet")
	for i := range 60 {
		ws.git("commit", "--quiet", "--allow-empty", "-m", fmt.Sprint(i))
	}
	ws.git("fetch", "--quiet", w.gh.URL()+"/acme/widgets", "main")
	if n := w.gh.Count(func(r Request) bool { return r.ContentEncoding == "gzip" && r.Status == http.StatusOK }); n == 0 {
		t.Error("no compressed request succeeded, want at least one")
	}
}

// rawGit posts a body as a client of its own would.
func (w *world) rawGit(endpoint, token string, body io.Reader, change func(*http.Request)) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.gh.URL()+"/acme/widgets.git/"+endpoint, body)
	w.must(err)
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("anyone:"+token)))
	req.Header.Set("Content-Type", "application/x-"+endpoint+"-request")
	if change != nil {
		change(req)
	}
	return w.send(req)
}

// deletion is a whole push request that deletes a branch.
func deletion(t *testing.T, repo *Repository, ref string) []byte {
	t.Helper()
	line := branch(t, repo, ref) + " " + strings.Repeat("0", 40) + " " + ref + "\x00 report-status object-format=sha1"
	return fmt.Appendf(nil, "%04x%s0000", len(line)+4, line)
}

func TestGitPushCompressedAsJGitDoes(t *testing.T) {
	w := newWorld(t, Options{})
	token := w.token(mayWrite)
	ws := w.workspace(token)
	ws.clone("acme/widgets")
	ws.git("push", "--quiet", "origin", "HEAD:refs/heads/old")
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	_, _ = z.Write(deletion(t, w.stored("widgets"), "refs/heads/old"))
	_ = z.Close()
	got := w.rawGit(receivePack, token, &body, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") })
	if !strings.Contains(string(got.raw), "ok refs/heads/old") {
		t.Errorf("answer = %q, want ok for the ref", got.raw)
	}
}

func TestGitProbe(t *testing.T) {
	w := newWorld(t, Options{})
	got := w.rawGit(receivePack, w.token(mayWrite), strings.NewReader("0000"), nil)
	if got.status != http.StatusOK || len(got.raw) != 0 {
		t.Errorf("probe = %d %q, want 200 and nothing", got.status, got.raw)
	}
}

func TestGitOddRequests(t *testing.T) {
	w := newWorld(t, Options{})
	token := w.token(mayWrite)
	set := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"bearer", set("Authorization", "Bearer "+token), 200},
		{"scheme token", set("Authorization", "token "+token), 401},
		{"two credentials", func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+token) }, 401},
		{"other content type", set("Content-Type", "text/plain"), 415},
		{"other encoding", set("Content-Encoding", "br"), 415},
		{"not gzip after all", set("Content-Encoding", "gzip"), 415},
		{"version 3", set("Git-Protocol", "version=3"), 400},
		{"version with more", set("Git-Protocol", "version=2:x"), 400},
		{"query", func(r *http.Request) { r.URL.RawQuery = "service=git-receive-pack" }, 400},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet }, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := w.rawGit(receivePack, token, strings.NewReader("0000"), test.change)
			if got.status != test.status {
				t.Errorf("status = %d, want %d: %s", got.status, test.status, got.raw)
			}
		})
	}
}

func TestGitUnauthorizedNamesItsScheme(t *testing.T) {
	w := newWorld(t, Options{})
	got := w.rest("GET", "/acme/widgets/info/refs?service=git-upload-pack", "", "")
	if got.status != 401 || got.header.Get("WWW-Authenticate") != `Basic realm="GitHub"` {
		t.Errorf("answer = %d %q, want 401 and a Basic challenge", got.status, got.header.Get("WWW-Authenticate"))
	}
	got = w.rest("GET", "/acme/widgets/info/refs", "", "")
	if got.status != 403 || !strings.Contains(string(got.raw), "dumb-http") {
		t.Errorf("dumb request = %d %q, want 403 about dumb-http", got.status, got.raw)
	}
}

func TestGitRenamed(t *testing.T) {
	w := newWorld(t, Options{})
	ws := w.workspace(w.token(mayWrite))
	ws.clone("acme/widgets")
	w.must(w.gh.RenameRepository("acme", "widgets", "Sprockets"))
	ws.commit("a.txt", []byte("a"))
	ws.git("fetch", "--quiet")
	ws.git("push", "--quiet", "origin", "HEAD:main")
	if n := w.gh.Count(func(r Request) bool { return r.Status == http.StatusMovedPermanently }); n != 2 {
		t.Errorf("redirects = %d, want 2", n)
	}
	outsider := w.workspace(w.token(mayRead, "gadgets"))
	outsider.refused("Repository not found", "ls-remote", w.gh.URL()+"/acme/widgets")
	// A new repository of the old name ends the redirect.
	w.repository(Repository{Owner: "acme", Name: "widgets"})
	one := ws.git("ls-remote", w.gh.URL()+"/acme/widgets", "HEAD")
	w.must(w.gh.RemoveRepository("acme", "widgets"))
	ws.refused("Repository not found", "ls-remote", w.gh.URL()+"/acme/widgets")
	if !strings.Contains(one, "HEAD") {
		t.Errorf("ls-remote = %q, want a HEAD", one)
	}
}

func TestGitWiki(t *testing.T) {
	w := newWorld(t, Options{})
	ws := w.workspace(w.token(mayWrite, "widgets"))
	ws.clone("acme/widgets.wiki.git")
	if _, err := os.Stat(filepath.Join(ws.dir, "Home.md")); err != nil {
		t.Error(err)
	}
	ws.commit("More.md", []byte("more"))
	ws.git("push", "--quiet", "origin", "HEAD:main")
	other := w.workspace(w.token(mayRead))
	other.refused("Repository not found", "ls-remote", w.gh.URL()+"/acme/gadgets.wiki.git")
}

// A push that stops half way moves nothing.
func TestGitPushCutOff(t *testing.T) {
	w := newWorld(t, Options{})
	token := w.token(mayWrite)
	ws := w.workspace(token)
	ws.clone("acme/widgets")
	ws.git("push", "--quiet", "origin", "HEAD:refs/heads/kept")
	whole := deletion(t, w.stored("widgets"), "refs/heads/kept")
	for n := 1; n < len(whole); n += 9 {
		body := io.MultiReader(bytes.NewReader(whole[:n]), brokenReader{})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.gh.URL()+"/acme/widgets/git-receive-pack", body)
		w.must(err)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/x-git-receive-pack-request")
		client := w.gh.Client()
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
		}
		client.CloseIdleConnections()
	}
	if branch(t, w.stored("widgets"), "refs/heads/kept") == "" {
		t.Error("a push that was cut off deleted a branch")
	}
}

func TestParseGitPath(t *testing.T) {
	for _, test := range []struct {
		path string
		want gitPath
	}{
		{"/acme/widgets/info/refs", gitPath{"acme", "widgets", false, infoRefs}},
		{"/acme/widgets.git/git-upload-pack", gitPath{"acme", "widgets", false, uploadPack}},
		{"/Acme/Widgets.GIT/git-receive-pack", gitPath{"Acme", "Widgets", false, receivePack}},
		{"/acme/widgets.wiki.git/info/refs", gitPath{"acme", "widgets", true, infoRefs}},
		{"/acme/widgets.wiki/info/refs", gitPath{"acme", "widgets", true, infoRefs}},
		{"/acme/.github/info/refs", gitPath{"acme", ".github", false, infoRefs}},
		{"/acme_corp/a.b_c-d/info/refs", gitPath{"acme_corp", "a.b_c-d", false, infoRefs}},
	} {
		got, ok := parseGitPath(test.path)
		if !ok || got != test.want {
			t.Errorf("parseGitPath(%q) = %+v, %t, want %+v", test.path, got, ok, test.want)
		}
	}
}

func TestParseGitPathRefuses(t *testing.T) {
	for _, path := range []string{
		"", "/", "/acme", "/acme/widgets", "/acme/widgets.git", "acme/widgets/info/refs",
		"//acme/widgets/info/refs", "/acme//widgets/info/refs", "/acme/widgets//info/refs", "/acme/widgets/info/refs/",
		"/acme/../info/refs", "/acme/./info/refs", "/acme/.git/info/refs", "/acme/.wiki.git/info/refs", "/../widgets/info/refs",
		"/acme/wid%67ets/info/refs", "/acme/widgets%2fx/info/refs", "/acme/widgets;x/info/refs", `/acme/wid\gets/info/refs`,
		"/acme/widgets/objects/info/packs", "/acme/widgets/HEAD", "/acme/widgets/info/lfs/objects/batch", "/acme/widgets/git-upload-archive",
		"/-acme/widgets/info/refs", "/" + strings.Repeat("a", 40) + "/widgets/info/refs", "/acme/" + strings.Repeat("a", 101) + "/info/refs",
		"/acme/\u212aelvin/info/refs",
	} {
		if got, ok := parseGitPath(path); ok {
			t.Errorf("parseGitPath(%q) = %+v, want it refused", path, got)
		}
	}
}

// What parses names one repository, and its canonical path parses to itself.
func FuzzParseGitPath(f *testing.F) {
	f.Add("/acme/widgets.git/info/refs")
	f.Add("/acme/widgets.wiki.git/git-receive-pack")
	f.Add("/acme/../git-upload-pack")
	f.Add("/a/%2e%2e/info/refs")
	f.Fuzz(func(t *testing.T, path string) {
		p, ok := parseGitPath(path)
		if !ok {
			return
		}
		if strings.ContainsAny(p.owner+p.name, "/%\\;?#\x00 ") || p.name == "." || p.name == ".." {
			t.Fatalf("parseGitPath(%q) = %+v, want no such bytes in a name", path, p)
		}
		again, ok := parseGitPath("/" + p.fullName() + "/" + p.endpoint)
		if !ok || again != p {
			t.Fatalf("parseGitPath of the canonical path of %+v = %+v, %t", p, again, ok)
		}
	})
}
