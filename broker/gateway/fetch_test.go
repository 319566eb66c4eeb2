package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func TestFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	for _, args := range []string{
		"", "-c protocol.version=0", "-c protocol.version=1", "-c protocol.version=2", "--depth 1", "--filter=blob:none", "--no-tags --single-branch",
	} {
		dir := filepath.Join(t.TempDir(), "clone")
		all := append(strings.Fields(args), w.repo("acme/widgets"), dir)
		if out, ok := w.git(append([]string{"clone"}, all...)...); !ok {
			t.Errorf("git clone %s: %s", args, out)
		}
		if out, ok := w.gitIn(dir, "log", "--oneline"); !ok || out == "" {
			t.Errorf("git clone %s leaves no history: %s", args, out)
		}
	}
	if got := w.audited(broker.KindFetch); !strings.Contains(got, "granted  ok") || strings.Contains(got, "refused") {
		t.Errorf("the audit log has %q", got)
	}
	for _, r := range w.Requests() {
		if strings.Contains(r.Path, "git-receive-pack") || strings.Contains(r.Query, "receive") {
			t.Errorf("a fetch asks GitHub for %s %s", r.Path, r.Query)
		}
	}
}

// GitHub may answer before it has read the whole request. The server then closed the
// request, and GitHub's answer is incomplete.
func TestAnAnswerBeforeTheEndOfTheRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	w.clone()
	w.aged()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	body := head("want "+w.ref("refs/heads/main")+"\n") + "0009done\n"
	fmt.Fprintf(c, "POST /acme/widgets.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-upload-pack-request\r\nAuthorization: Basic %s\r\nTransfer-Encoding: chunked\r\n\r\n", basic(w.session))
	fmt.Fprintf(c, "%x\r\n%s\r\n", len(body), body)
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("an answer before the end of the request: %v", err)
	}
	defer response.Body.Close()
	fmt.Fprint(c, "0\r\n\r\n")
	answer, err := io.ReadAll(response.Body)
	if err != nil || !strings.HasPrefix(string(answer), "0008NAK\nPACK") {
		t.Errorf("a fetch is answered %d bytes, %v, want a pack", len(answer), err)
	}
}

// git prints a reason when the gateway refuses, and never a prompt or nothing.
func TestRefusedRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	for _, c := range []struct{ args, want string }{
		{"ls-remote " + w.repo("acme/other"), "remote: gatepass: the profile of workspace sb-agent does not allow acme/other"},
		{"ls-remote " + w.repo("acme/none"), "remote: gatepass: the profile of workspace sb-agent does not allow acme/none"},
		{"ls-remote " + w.url + "/git/gitlab.com/acme/widgets", "gatepass: this gateway does not serve that host"},
		{"ls-remote " + w.repo("acme/widgets.wiki"), "remote: gatepass: wikis are not served"},
		{"archive --remote=" + w.repo("acme/widgets") + " HEAD", "operation not supported by protocol"},
	} {
		out, ok := w.git(strings.Fields(c.args)...)
		if ok || !strings.Contains(out, c.want) && !strings.Contains(out, "not found") || strings.Contains(out, "could not read Username") {
			t.Errorf("git %s prints (exit 0: %v) %s, want %q", c.args, ok, out, c.want)
		}
	}
	if n := w.Counts().Mints; n != 0 {
		t.Errorf("%d tokens were minted, want none", n)
	}
}

// A request without an identity is answered 401; one with a wrong identity is refused
// and recorded.
func TestIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	get := func(set func(*http.Request)) (*http.Response, string) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.repo("acme/widgets")+"/info/refs?service=git-upload-pack", nil)
		set(r)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response, string(body)
	}
	for _, c := range []struct {
		name   string
		set    func(*http.Request)
		status int
		lines  int // of the audit log
	}{
		{"nothing", func(*http.Request) {}, 401, 0},
		{"a session", func(r *http.Request) { r.SetBasicAuth("anybody", w.session) }, 200, 0},
		{"a session as Bearer", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+w.session) }, 200, 0},
		{"an identity of the policy", func(r *http.Request) { r.Header.Set("Test-Caller", "agent") }, 200, 0},
		{"an identity without a rule", func(r *http.Request) { r.Header.Set("Test-Caller", "stranger") }, 403, 1},
		{"a token of GitHub's", func(r *http.Request) { r.SetBasicAuth("x-access-token", "ghs_0123456789abcdefghijABCDEFGHIJ012345") }, 401, 1},
		{"a session that is no whole one", func(r *http.Request) { r.SetBasicAuth("x", w.session[:len(w.session)-1]) }, 401, 1},
		{"two identities", func(r *http.Request) {
			r.Header["Authorization"] = []string{"Bearer " + w.session, "Bearer " + w.session}
		}, 401, 1},
		{"no password", func(r *http.Request) { r.SetBasicAuth("x", "") }, 401, 1},
	} {
		before := len(w.Journal.Of(broker.KindRequest))
		response, body := get(c.set)
		if response.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, response.StatusCode, body, c.status)
		}
		if challenge := response.Header.Get("WWW-Authenticate"); (challenge != "") != (c.status == 401) || challenge != "" && !strings.HasPrefix(challenge, "Basic ") {
			t.Errorf("%s: WWW-Authenticate is %q", c.name, challenge)
		}
		if c.status != 200 && (!strings.HasPrefix(body, "gatepass: ") || !strings.HasPrefix(response.Header.Get("Gatepass-Decision"), "refused; rule=")) {
			t.Errorf("%s: refused with %q, %v", c.name, body, response.Header)
		}
		if lines := len(w.Journal.Of(broker.KindRequest)) - before; lines != c.lines {
			t.Errorf("%s: %d lines in the audit log, want %d", c.name, lines, c.lines)
		}
	}
}

// Some of GitHub's servers learn of a new token late. git does not notice.
func TestANewTokenThatGitHubDoesNotKnowYet(t *testing.T) {
	if testing.Short() {
		t.Skip("waits as long as GitHub's replicas lag")
	}
	t.Parallel()
	for _, status := range []int{401, 403, 404} {
		w := newWorld(t, agents)
		if err := w.SetLag(700*time.Millisecond, status); err != nil {
			t.Fatal(err)
		}
		w.clone()
		if out, ok := w.git("push", "origin", "HEAD:refs/heads/agent/sb-agent/x"); !ok {
			t.Errorf("git push of a token that is answered %d: %s", status, out)
		}
		if n := w.Counts().Mints; n != 2 {
			t.Errorf("%d tokens were minted, want one to read and one to write", n)
		}
	}
}

// revokeAtGitHub ends every token that the broker has in memory.
func (w *world) revokeAtGitHub() {
	w.t.Helper()
	n := 0
	w.Access.Broker.Cache.Live(func(_ broker.Scope, t credential.Token) {
		if w.Revoke(t.Secret()) {
			n++
		}
	})
	if n == 0 {
		w.t.Fatal("the broker has no token that lives")
	}
}

// A token that was revoked at GitHub was used until it would have expired: every fetch and
// push failed for up to an hour.
func TestATokenThatWasRevokedAtGitHub(t *testing.T) {
	t.Parallel()
	w := newAged(t)
	const says = "the broker's token was revoked at GitHub; try again"
	for _, args := range [][]string{{"fetch", "origin"}, {"push", "origin", "HEAD:" + work}} {
		w.revokeAtGitHub()
		if out, ok := w.git(args...); ok || !strings.Contains(out, says) {
			t.Errorf("git %s prints (exit 0: %v) %s, want %q", args[0], ok, out, says)
		}
		if out, ok := w.git(args...); !ok {
			t.Errorf("git %s once more: %s", args[0], out)
		}
		w.Advance(2 * time.Minute)
		w.session = w.Session("")
	}
	w.revokeAtGitHub()
	batch := `{"operation":"download","objects":[{"oid":"` + strings.Repeat("a", 64) + `","size":1}]}`
	if status, answer := w.lfsCall("objects/batch", batch); status != http.StatusServiceUnavailable || !strings.Contains(string(answer), says) {
		t.Errorf("LFS answers %d %s, want %q", status, answer, says)
	}
	if status, answer := w.lfsCall("objects/batch", batch); status != http.StatusOK {
		t.Errorf("LFS answers once more %d %s", status, answer)
	}
	if n := len(w.Journal.Of(broker.KindRevoked)); n != 3 {
		t.Errorf("the audit log has %d dropped tokens, want 3", n)
	}
}

// A public repository is fetched without a token; a private one looks as if it did not
// exist.
func TestPublicRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{allowedRepos: [acme/widgets], publicRead: ["pub/*", "octo/*"]}`)
	for _, r := range []fakegithub.Repository{{Owner: "pub", Name: "lib", Public: true}, {Owner: "pub", Name: "secret"}} {
		if _, err := w.AddRepository(r); err != nil {
			t.Fatal(err)
		}
	}
	if out, ok := w.git("clone", "-q", w.repo("pub/lib"), filepath.Join(t.TempDir(), "lib")); !ok {
		t.Errorf("git clone of a public repository: %s", out)
	}
	if n := w.Counts().Mints; n != 0 {
		t.Errorf("%d tokens were minted for a public repository, want none", n)
	}
	private, _ := w.git("ls-remote", w.repo("pub/secret"))
	missing, _ := w.git("ls-remote", w.repo("pub/none"))
	if private == "" || strings.ReplaceAll(private, "secret", "none") != missing {
		t.Errorf("a private repository answers\n%s\nand a missing one\n%s\nwant the same", private, missing)
	}
	if out, ok := w.git("push", w.repo("pub/lib"), "HEAD:x"); ok {
		t.Errorf("git push to a public repository: %s", out)
	}
	if out, ok := w.git("ls-remote", w.repo("acme/other")); ok {
		t.Errorf("a repository that is neither the profile's nor public: %s", out)
	}
}

// A name may belong to another repository tomorrow, so GitHub's redirects are not
// followed.
func TestARenamedRepository(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newWorld(t, `{allowedRepos: ["acme/*"]}`)
	w.clone()
	if err := w.RenameRepository("acme", "widgets", "gadgets"); err != nil {
		t.Fatal(err)
	}
	out, ok := w.git("fetch", "origin")
	if ok || !strings.Contains(out, "remote: gatepass: ") || strings.Contains(out, w.Host()) {
		t.Errorf("git fetch of a renamed repository prints (exit 0: %v) %s, want a reason without GitHub's address", ok, out)
	}
}

// A profile with an id means that repository, whatever its name is now, and never
// another one with its old name.
func TestARenamedRepositoryByItsID(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newWorld(t, agents)
	repo, _ := w.Repository("acme", "widgets")
	w.SetProfile(fmt.Sprintf(`{allowedRepos: ["acme/widgets#%d"], allowedRefs: ["agent/**"]}`, repo.ID))
	w.session = w.Session("")
	w.clone()
	if err := w.RenameRepository("acme", "widgets", "gadgets"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		t.Fatal(err)
	}
	w.Advance(2 * time.Hour) // makes the next token a new one
	w.session = w.Session("")
	if out, ok := w.git("push", "origin", "HEAD:refs/heads/agent/x"); !ok {
		t.Fatalf("git push after the rename: %s", out)
	}
	for name, want := range map[string]bool{"gadgets": true, "widgets": false} {
		repo, _ := w.Repository("acme", name)
		_, err := exec.Command("git", "-C", repo.Dir, "rev-parse", "-q", "--verify", "refs/heads/agent/x").Output()
		if (err == nil) != want {
			t.Errorf("acme/%s has the branch: %v, want %v", name, err == nil, want)
		}
	}
}

// git sees GitHub's own refusals, with the request id for GitHub's support.
func TestGitHubRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	w.clone()
	isRefs := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/info/refs") }
	for _, c := range []struct {
		fault fakegithub.Fault
		want  string
	}{
		{fakegithub.Status(500), "gatepass: GitHub answered 500"},
		{fakegithub.Status(503), "gatepass: GitHub answered 503"},
		{fakegithub.RateLimited(7 * time.Second), "gatepass: GitHub answered 429"},
		{fakegithub.Reset(), "gatepass: GitHub did not answer"},
		{fakegithub.Truncate(10), "gatepass: GitHub's answer is not a git answer"},
	} {
		cancel := w.Fail(isRefs, c.fault, 1)
		if out, ok := w.git("fetch", "origin"); ok || !strings.Contains(out, c.want) {
			t.Errorf("git fetch prints (exit 0: %v) %s, want %q", ok, out, c.want)
		}
		cancel()
	}
	if out, ok := w.git("fetch", "origin"); !ok {
		t.Errorf("git fetch once GitHub is well again: %s", out)
	}
}
