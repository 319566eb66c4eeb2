package rest

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A gate is a listening gateway with its API, and a client.
type gate struct {
	*brokertest.Gateway
	t   *testing.T
	api *API
	url string

	settings Settings
}

const working = "{allowedRepos: [acme/widgets, octo/widgets], permissions: {contents: write, issues: write, pull_requests: write}}"

func newGate(t *testing.T, profile string) *gate {
	t.Helper()
	return newGateWith(t, profile, fakegithub.Options{})
}

func newGateWith(t *testing.T, profile string, o fakegithub.Options) *gate {
	t.Helper()
	g := &gate{Gateway: brokertest.NewGateway(t, o, profile), t: t}
	g.api = New(g.Access, Options{Settings: func() Settings { return g.settings }})
	server := httptest.NewServer(g.api)
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

// An answer is what the client gets.
type answer struct {
	status int
	header http.Header
	body   string
}

// message returns the message of an error in GitHub's form.
func (a answer) message() string {
	var p problem
	_ = json.Unmarshal([]byte(a.body), &p)
	return p.Message
}

// ask sends a request with a session, below /api/v3.
func (g *gate) ask(session, method, path, body string) answer {
	g.t.Helper()
	r, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if session != "" {
		r.Header.Set("Authorization", "token "+session)
	}
	return g.do(r)
}

func (g *gate) do(r *http.Request) answer {
	g.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// script makes a handler answer the API instead of the double, which still mints the
// tokens. seen returns the requests that it got.
func (g *gate) script(handle http.HandlerFunc) (seen func() []*http.Request) {
	g.t.Helper()
	var mu sync.Mutex // guards requests
	var requests []*http.Request
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r)
		mu.Unlock()
		handle(w, r)
	}))
	g.t.Cleanup(server.Close)
	to, err := url.Parse(server.URL + "/api/v3")
	if err != nil {
		g.t.Fatal(err)
	}
	g.Access.Upstream.API = to
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	g.Access.Upstream.Trust(roots)
	return func() []*http.Request {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(requests)
	}
}

func (g *gate) checkNoToken(a answer) {
	g.t.Helper()
	header := new(strings.Builder)
	if err := a.header.Write(header); err != nil {
		g.t.Fatal(err)
	}
	if strings.Contains(a.body+header.String(), "ghs_") {
		g.t.Errorf("GitHub's token is in an answer: %s %s", header, a.body)
	}
}

// checkRefused checks a refusal by the gateway: its header, and GitHub's form.
func (g *gate) checkRefused(name string, a answer, status int, text string) {
	g.t.Helper()
	g.checkNoToken(a)
	if a.status != status || !strings.HasPrefix(a.header.Get(DecisionHeader), "refused; rule=") {
		g.t.Errorf("%s: %d with %s %q, want %d refused: %s", name, a.status, DecisionHeader, a.header.Get(DecisionHeader), status, a.body)
	}
	if m := a.message(); !strings.HasPrefix(m, "gatepass: ") || !strings.Contains(m, text) || a.header.Get("Content-Type") != "application/json; charset=utf-8" {
		g.t.Errorf("%s: %q as %s, want %q", name, m, a.header.Get("Content-Type"), text)
	}
}

// A token that was revoked at GitHub was used until it would have expired. GitHub's 401 to
// an endpoint that no installation token may use ends no token.
func TestATokenThatWasRevokedAtGitHub(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	session := g.Session("acme/widgets")
	const path = "/api/v3/repos/acme/widgets"
	if got := g.ask(session, http.MethodGet, path, ""); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	g.Advance(2 * time.Minute)
	g.Fail(fakegithub.To(http.MethodGet, "/repos/acme/widgets"), fakegithub.Status(http.StatusUnauthorized), 1)
	if got := g.ask(session, http.MethodGet, path, ""); got.status != http.StatusUnauthorized {
		t.Errorf("a 401 for another reason is answered %d %s, want as it is", got.status, got.body)
	}
	if got := g.ask(session, http.MethodGet, path, ""); got.status != http.StatusOK || g.Counts().Mints != 1 {
		t.Errorf("after it: %d, and %d tokens were minted, want one", got.status, g.Counts().Mints)
	}
	g.Advance(2 * time.Minute)
	g.Access.Broker.Cache.Live(func(_ broker.Scope, held credential.Token) { g.Revoke(held.Secret()) })
	g.checkRefused("revoked", g.ask(session, http.MethodGet, path, ""), http.StatusServiceUnavailable, "the broker's token was revoked at GitHub; try again")
	if got := g.ask(session, http.MethodGet, path, ""); got.status != http.StatusOK {
		t.Errorf("once more: %d %s", got.status, got.body)
	}
}

func TestARepositoryIsForwardedInBothLayouts(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	session := g.Session("acme/widgets")
	for host, base := range map[string]string{"gate.example": "https://gate.example/api/v3", "api.gate.example": "https://api.gate.example"} {
		path := strings.TrimPrefix(base, "https://"+host)
		r, err := http.NewRequest(http.MethodGet, g.url+path+"/repos/Acme/widgets", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Authorization", "Bearer "+session)
		got := g.do(r)
		var repo struct {
			URL      string `json:"url"`
			PullsURL string `json:"pulls_url"`
			HTMLURL  string `json:"html_url"`
		}
		if err := json.Unmarshal([]byte(got.body), &repo); err != nil || got.status != http.StatusOK {
			t.Fatalf("%s: %d %s", host, got.status, got.body)
		}
		if repo.URL != base+"/repos/acme/widgets" || repo.PullsURL != base+"/repos/acme/widgets/pulls{/number}" || repo.HTMLURL != g.URL()+"/acme/widgets" {
			t.Errorf("%s: URLs %+v, want those of %s and the page's as it was", host, repo, base)
		}
		if got.header.Get(DecisionHeader) != "" {
			t.Errorf("%s: an answer of GitHub's has %s", host, DecisionHeader)
		}
		g.checkNoToken(got)
	}
}

// Headers that identify the caller or lead elsewhere, and cookies, are not forwarded in
// either direction.
func TestHeadersBothWays(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	seen := g.script(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Set-Cookie": "a=b", "WWW-Authenticate": "Basic", "X-OAuth-Scopes": "repo", "Server": "github.com", "Content-Type": "application/json", "X-Gatepass": "1",
			DecisionHeader: "refused; rule=forged", "ETag": `W/"1"`, "X-GitHub-Request-Id": "ID", "Strict-Transport-Security": "max-age=1", "Access-Control-Allow-Origin": "*",
		} {
			w.Header().Set(name, value)
		}
		io.WriteString(w, "{}")
	})
	r, err := http.NewRequest(http.MethodGet, g.url+"/api/v3/repos/acme/widgets/contents/a%2Fb?ref=x&ref=%2Fy", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Authorization": "token " + g.Session("acme/widgets"), "Cookie": "user_session=x", "X-Forwarded-For": "1.2.3.4", "Forwarded": "for=x", "X-GitHub-OTP": "123456",
		"X-HTTP-Method-Override": "DELETE", "Proxy-Authorization": "Basic eDp5", "X-GitHub-Stateless-S2S-Token": "enabled", "Accept": "application/vnd.github.raw+json",
		"If-None-Match": `W/"1"`, "X-GitHub-Api-Version": "2022-11-28", "User-Agent": "evil", "Test-Caller": "agent", "Accept-Encoding": "br", "Origin": "https://x", "Referer": "https://x",
	} {
		r.Header.Set(name, value)
	}
	got := g.do(r)
	if len(seen()) != 1 || got.status != http.StatusOK {
		t.Fatalf("%d requests, %d %s", len(seen()), got.status, got.body)
	}
	up := seen()[0]
	if up.RequestURI != "/api/v3/repos/acme/widgets/contents/a%2Fb?ref=x&ref=%2Fy" || up.Host != g.Access.Upstream.API.Host {
		t.Errorf("GitHub was asked %s %s", up.Host, up.RequestURI)
	}
	if auth := up.Header.Get("Authorization"); !strings.HasPrefix(auth, "Bearer ghs_") {
		t.Errorf("Authorization = %.12q, want GitHub's token as Bearer", auth)
	}
	wantUp := []string{"Accept", "Accept-Encoding", "Authorization", "If-None-Match", "User-Agent", "X-Github-Api-Version"}
	if names := slices.Sorted(maps.Keys(up.Header)); !slices.Equal(names, wantUp) || up.Header.Get("User-Agent") == "evil" {
		t.Errorf("headers to GitHub: %v", up.Header)
	}
	want := []string{
		"Content-Type", "Date", "Etag", "X-Github-Request-Id", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "X-Ratelimit-Resource", "X-Ratelimit-Used", "X-Request-Id",
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(got.header)), func(name string) bool { return name == "Content-Length" })
	if !slices.Equal(names, want) {
		t.Errorf("headers to the caller: %v, want %v", names, want)
	}
}

// A session for one repository gives access to that one only, by its name and by its
// id.
func TestOtherRepositoriesAreNotFound(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	one, all := g.Session("acme/widgets"), g.Session("")
	g.ResetRequests()
	for _, c := range []struct{ name, session, path, text string }{
		{"another repository of the owner", one, "/repos/acme/other", "this session is for acme/widgets, not for acme/other"},
		{"another one of the profile", one, "/repos/octo/widgets/issues", "this session is for acme/widgets, not for octo/widgets"},
		{"one that is not there", one, "/repos/acme/none", "this session is for acme/widgets"},
		{"one that the profile does not have", all, "/repos/acme/other", "does not allow acme/other"},
		{"one of a stranger", all, "/repos/stranger/x", "does not allow stranger/x"},
		{"another id", one, "/repositories/999999/issues", "not for the repository with the ID 999999"},
		{"an owner alone", one, "/repos/acme", "owner/name"},
		{"another address", one, "/../v4/x", ""},
	} {
		got := g.ask(c.session, http.MethodGet, "/api/v3"+c.path, "")
		status := http.StatusNotFound
		if c.text == "" {
			status = http.StatusBadRequest
		}
		g.checkRefused(c.name, got, status, c.text)
	}
	for _, r := range g.Requests() {
		if r.Method == http.MethodGet && !strings.Contains(r.Path, "/installation") {
			t.Errorf("GitHub was asked %s %s", r.Method, r.Path)
		}
	}
	for _, path := range []string{"/repos/acme/widgets", "/repos/octo/widgets"} {
		if got := g.ask(all, http.MethodGet, "/api/v3"+path, ""); got.status != http.StatusOK {
			t.Errorf("a session for the whole profile asks %s: %d %s", path, got.status, got.body)
		}
	}
	var repo struct{ ID int64 }
	got := g.ask(one, http.MethodGet, "/api/v3/repos/acme/widgets", "")
	if err := json.Unmarshal([]byte(got.body), &repo); err != nil {
		t.Fatal(err)
	}
	if got := g.ask(one, http.MethodGet, fmt.Sprintf("/api/v3/repositories/%d", repo.ID), ""); got.header.Get(DecisionHeader) != "" {
		t.Errorf("the repository's own id is refused: %d %s", got.status, got.body)
	}
}

// DELETE /installation/token would revoke a token that other workspaces use, too.
func TestTheAppsOwnPathsAreRefused(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	session := g.Session("acme/widgets")
	if got := g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", ""); got.status != http.StatusOK {
		t.Fatal(got)
	}
	g.ResetRequests()
	for _, c := range []struct{ method, path string }{
		{"DELETE", "/installation/token"},
		{"GET", "/app"},
		{"GET", "/app/installations"},
		{"POST", "/app/installations/1/access_tokens"},
		{"POST", "/app-manifests/x/conversions"},
		{"POST", "/applications/Iv1.x/token"},
		{"DELETE", "/applications/Iv1.x/grant"},
		{"GET", "/authorizations"},
		{"GET", "/installation"},
		{"DELETE", "/installation/token/"},
	} {
		g.checkRefused(c.method+" "+c.path, g.ask(session, c.method, "/api/v3"+c.path, ""), http.StatusForbidden, "is for the App's owner; the gateway does not serve it")
	}
	upload := g.ask(session, "POST", "/api/uploads/repos/acme/widgets/releases/1/assets?name=x", "data")
	g.checkRefused("an upload", upload, http.StatusForbidden, "contents: write")
	if n := len(g.Requests()); n != 0 {
		t.Errorf("GitHub was asked %d times: %+v", n, g.Requests())
	}
	if got := g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", ""); got.status != http.StatusOK {
		t.Errorf("the token does not work any more: %d %s", got.status, got.body)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	seen := g.script(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	session := g.Session("acme/widgets")
	change := func(change func(*http.Request)) answer {
		r, err := http.NewRequest(http.MethodGet, g.url+"/api/v3/repos/acme/widgets", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "token "+session)
		change(r)
		return g.do(r)
	}
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		status int
		text   string
	}{
		{"no identity", func(r *http.Request) { r.Header.Del("Authorization") }, 401, ""},
		{"a token of GitHub's", func(r *http.Request) { r.Header.Set("Authorization", "token ghp_"+strings.Repeat("x", 36)) }, 401, ""},
		{"a session that is made up", func(r *http.Request) { r.Header.Set("Authorization", "token gpg_x.y.z") }, 401, ""},
		{"another method", func(r *http.Request) { r.Method = "OPTIONS" }, 405, "GET and HEAD"},
		{"a method that is made up", func(r *http.Request) { r.Method = "MOVE" }, 405, ""},
		{"GraphQL by GET", func(r *http.Request) { r.URL.Path = "/api/graphql" }, 405, "POST"},
		{"not a host", func(r *http.Request) { r.Host = "a_b c" }, 400, ""},
		{"a body of GET", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1 }, 400, "must not have a body"},
		{"a chunked body of GET", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), -1 }, 400, "must not have a body"},
		{"a compressed body", func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(strings.NewReader("x")), 1
			r.Header.Set("Content-Encoding", "gzip")
		}, 415, "compressed"},
		{"a large body", func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(strings.NewReader("")), maxBody+1
			r.Header.Set("Expect", "100-continue")
		}, 413, "16 MiB"},
		{"no such API", func(r *http.Request) { r.URL.Path = "/api/v4/user" }, 404, "/api/v3"},
		{"an empty segment", func(r *http.Request) { r.URL.Path = "/api/v3//user" }, 400, "empty segment"},
	} {
		got := change(c.change)
		if c.name == "not a host" && got.body == "400 Bad Request: malformed Host header" {
			continue // net/http refuses it
		}
		g.checkRefused(c.name, got, c.status, c.text)
	}
	if n := len(seen()); n != 0 {
		t.Errorf("GitHub was asked %d times", n)
	}
}

// When GitHub refuses a forwarded request, its own words are passed on, and cannot be
// taken for the gateway's.
func TestGitHubsRefusalsStayGitHubs(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	const said = `{"message":"Resource not accessible by integration","documentation_url":"https://docs.github.com/rest","status":"403"}`
	g.script(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("X-Accepted-GitHub-Permissions", "members=read")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, said)
	})
	got := g.ask(g.Session("acme/widgets"), http.MethodPost, "/api/v3/repos/acme/widgets/pulls/1/requested_reviewers", "{}")
	const note = "GitHub requires members=read; the token of this workspace has contents: read, issues: write, pull_requests: write; its profile decides; the gateway never gives the API a permission that moves refs: push with git"
	if got.header.Get(NoteHeader) != note {
		t.Errorf("%s = %q, want %q", NoteHeader, got.header.Get(NoteHeader), note)
	}
	want := strings.TrimSuffix(said, "}") + `,"errors":[{"message":"gatepass: ` + note + `"}]}`
	if got.status != http.StatusForbidden || got.body != want || got.header.Get(DecisionHeader) != "" || !strings.HasPrefix(got.message(), "Resource") {
		t.Errorf("%d %v %s, want %s", got.status, got.header, got.body, want)
	}
}

// A refusal that cannot take a note is passed on as it is.
func TestNotedLeavesTheRest(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"", "<html>", `"text"`, "[]", "{}", `{"message":"no","errors":[{"message":"theirs"}]}`, `{"message":"cut`, `{"message":"` + strings.Repeat("x", maxNoted) + `"}`,
	} {
		if got, err := io.ReadAll(noted(strings.NewReader(body), "n")); err != nil || string(got) != body {
			t.Errorf("noted(%.60q) = %.60q, %v, want it as it is", body, got, err)
		}
	}
	if got, err := io.ReadAll(noted(strings.NewReader("{\"message\":\"no\"}\n"), "a \"b\"")); err != nil || string(got) != `{"message":"no","errors":[{"message":"gatepass: a \"b\""}]}`+"\n" {
		t.Errorf("noted = %q, %v", got, err)
	}
}

func TestCompressedAnswersAreDecompressed(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	coding := "gzip"
	g.script(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", coding)
		z := gzip.NewWriter(w)
		defer z.Close()
		fmt.Fprintf(z, `{"url":"https://%s/api/v3/x"}`, r.Host)
	})
	session := g.Session("acme/widgets")
	got := g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", "")
	if want := `{"url":"` + g.url + `/api/v3/x"}`; got.body != want || got.header.Get("Content-Encoding") != "" {
		t.Errorf("%q as %q, want %q", got.body, got.header.Get("Content-Encoding"), want)
	}
	coding = "br"
	g.checkRefused("another coding", g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", ""), http.StatusBadGateway, "cannot be decompressed")
}

// A client must not take half an answer for a whole one.
func TestACutOffAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"application/json", "text/plain"} {
		g := newGate(t, working)
		g.script(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			io.WriteString(w, `[{"a":1},`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		r, err := http.NewRequest(http.MethodGet, g.url+"/api/v3/repos/acme/widgets/issues", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "token "+g.Session("acme/widgets"))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			continue // the status had not been sent yet
		}
		if data, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: a cut off answer ends as if it were whole: %s", kind, data)
		}
		resp.Body.Close()
	}
}

// The broker itself answers what gh asks an Enterprise Server, unless GitHub is one.
func TestMeta(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	said := `{"installed_version":"3.18.2","other":1}`
	g.script(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, said) })
	one := g.Session("acme/widgets")
	for _, c := range []struct{ name, session, said, want string }{
		{"an Enterprise Server says its version", one, said, "3.18.2"},
		{"no repository to ask by", g.Session(""), said, cloudVersion},
		{"no version", one, `{}`, cloudVersion},
		{"no text", one, `{"installed_version":3}`, cloudVersion},
		{"no version at all", one, `{"installed_version":"<x>"}`, cloudVersion},
		{"no JSON", one, `nothing`, cloudVersion},
	} {
		said = c.said
		got := g.ask(c.session, http.MethodGet, "/api/v3/meta", "")
		if want := `{"verifiable_password_authentication":false,"installed_version":"` + c.want + `"}`; got.status != http.StatusOK || got.body != want {
			t.Errorf("%s: %d %s, want %s", c.name, got.status, got.body, want)
		}
	}
	g.Access.Upstream.API.Path = ""
	if got := g.ask(one, http.MethodGet, "/api/v3/meta", ""); !strings.Contains(got.body, `"`+cloudVersion+`"`) {
		t.Errorf("before github.com: %s", got.body)
	}
}

func TestUserIsTheBot(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	seen := g.script(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"login":"gatepass[bot]","type":"Bot"}`)
	})
	session := g.Session("acme/widgets")
	if g.ask(session, http.MethodGet, "/api/v3/user", ""); seen()[0].RequestURI != "/api/v3/user" {
		t.Errorf("without a bot GitHub is asked %s", seen()[0].RequestURI)
	}
	g.api.o.Bot = func(context.Context, string) (string, error) { return "gatepass[bot]", nil }
	got := g.ask(session, http.MethodGet, "/api/v3/user", "")
	if uri := seen()[1].RequestURI; uri != "/api/v3/users/gatepass%5Bbot%5D" || got.status != http.StatusOK || !strings.Contains(got.body, "gatepass[bot]") {
		t.Errorf("GitHub is asked %s: %d %s", uri, got.status, got.body)
	}
	g.ask(session, http.MethodPatch, "/api/v3/user", "{}")
	if uri := seen()[2].RequestURI; uri != "/api/v3/user" {
		t.Errorf("a change of the user goes to %s", uri)
	}
}

// Some of GitHub's servers learn of a token late: a workspace's first request must not
// fail because of that, and GraphQL is always a POST.
func TestAFreshTokensLagIsHidden(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	var mu sync.Mutex
	tries, bodies := 0, []string{}
	g.script(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		data, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(data))
		if tries++; tries < 3 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, "{}")
	})
	session := g.Session("acme/widgets")
	const query = `{"query":"{viewer{login}}"}`
	if got := g.ask(session, http.MethodPost, "/api/graphql", query); got.status != http.StatusOK || !slices.Equal(bodies, []string{query, query, query}) {
		t.Errorf("%d after %q", got.status, bodies)
	}
	tries = -1000
	g.Advance(2 * time.Minute)
	if got := g.ask(session, http.MethodPost, "/api/graphql", query); got.status != http.StatusUnauthorized || tries != -999 {
		t.Errorf("the 401 of an old token: %d after %d tries", got.status, tries+1000)
	}
}

// As at GitHub, a request with a current ETag costs nothing.
func TestNotModifiedIsFree(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	g.settings.PerHour = 2
	g.script(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `W/"1"`)
		if r.Header.Get("If-None-Match") == `W/"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		io.WriteString(w, "{}")
	})
	session := g.Session("acme/widgets")
	for i := range 5 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/api/v3/repos/acme/widgets", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "token "+session)
		want := http.StatusOK
		if i > 0 {
			r.Header.Set("If-None-Match", `W/"1"`)
			want = http.StatusNotModified
		}
		if got := g.do(r); got.status != want || got.header.Get("X-RateLimit-Remaining") != "1" {
			t.Errorf("request %d: %d with %s left, want %d with 1", i+1, got.status, got.header.Get("X-RateLimit-Remaining"), want)
		}
	}
}

func TestRateLimitIsTheWorkspaces(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	g.settings.PerHour = 3
	seen := g.script(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-RateLimit-Remaining", "4990")
		io.WriteString(w, "{}")
	})
	session := g.Session("acme/widgets")
	for i := range 3 {
		got := g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", "")
		if want := strconv.Itoa(2 - i); got.status != http.StatusOK || got.header.Get("X-RateLimit-Remaining") != want {
			t.Errorf("request %d: %d with %q left, want %s", i+1, got.status, got.header.Get("X-RateLimit-Remaining"), want)
		}
	}
	got := g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", "")
	g.checkRefused("one more", got, http.StatusTooManyRequests, "0 left of its 3 requests for this hour")
	if seconds, _ := strconv.Atoi(got.header.Get("Retry-After")); seconds < 3500 || seconds > 3600 || got.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("Retry-After %d, %s left", seconds, got.header.Get("X-RateLimit-Remaining"))
	}
	got = g.ask(session, http.MethodGet, "/api/v3/rate_limit", "")
	if !strings.Contains(got.body, `"core":{"limit":3,"used":3,"remaining":0,`) || len(seen()) != 3 {
		t.Errorf("/rate_limit: %s; GitHub was asked %d times", got.body, len(seen()))
	}
	// GraphQL points are counted separately, as at GitHub; a query counts what it may
	// fetch.
	got = g.ask(session, http.MethodPost, "/api/graphql", `{"query":"{a(first:100){b(first:100){c}}}"}`)
	if got.status != http.StatusOK || got.header.Get("X-RateLimit-Remaining") != "2" || got.header.Get("X-RateLimit-Resource") != "graphql" {
		t.Errorf("a query of one point: %d, %v", got.status, got.header)
	}
	got = g.ask(session, http.MethodPost, "/api/graphql", `{"query":"{a(first:100){b(first:3){c(first:1){d}}}}"}`)
	g.checkRefused("a query of four points", got, http.StatusTooManyRequests, "of its 3 points of GraphQL")
	g.Advance(time.Hour)
	if got := g.ask(g.Session("acme/widgets"), http.MethodGet, "/api/v3/repos/acme/widgets", ""); got.status != http.StatusOK {
		t.Errorf("the next hour: %d %s", got.status, got.body)
	}
}
