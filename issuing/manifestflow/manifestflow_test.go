package manifestflow

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
)

const code = "a180b1a3d263c81bc6441d7b990bae27d4c10679"

func aFlow(t *testing.T) Flow {
	t.Helper()
	permissions, err := mint.Verbs("clone", "push", "review")
	if err != nil {
		t.Fatal(err)
	}
	return Flow{
		Manifest: mint.Manifest{Name: "Sandbox Pass", Homepage: "https://acme.test", Permissions: permissions},
		GitHub:   "https://ghe.example", Org: "acme", KeyGoes: "ssm:///km",
	}
}

func open(t *testing.T, f Flow) *Server {
	t.Helper()
	s, err := Open(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A browser has cookies and follows redirects.
type browser struct {
	t *testing.T
	*http.Client
}

func newBrowser(t *testing.T) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{t, &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// A reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   string
	path   string // where redirects ended
}

func (b browser) do(method, url string, header http.Header) reply {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, url, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if host := header.Get("Host"); host != "" {
		request.Host = host
		header.Del("Host")
	}
	request.Header = header
	response, err := b.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body), response.Request.URL.Path}
}

func (b browser) get(url string) reply {
	b.t.Helper()
	return b.do(http.MethodGet, url, http.Header{})
}

// entered returns a browser that has opened the page.
func entered(t *testing.T, s *Server) browser {
	t.Helper()
	b := newBrowser(t)
	if got := b.get(s.URL()); got.status != http.StatusOK || got.path != s.root {
		t.Fatalf("GET %s = %d at %s, want the form", s.URL(), got.status, got.path)
	}
	return b
}

func (s *Server) at(path string) string { return "http://" + s.host + path }

func (s *Server) callbackWith(query url.Values) string {
	return s.at(s.callbackPath()) + "?" + query.Encode()
}

func TestOnlyTheFirstBrowserIsServed(t *testing.T) {
	s := open(t, aFlow(t))
	if got := newBrowser(t).do(http.MethodHead, s.URL(), http.Header{}); got.status != http.StatusMethodNotAllowed {
		t.Errorf("HEAD = %d, want 405 and the page still to be opened", got.status)
	}
	first := entered(t, s)
	second := newBrowser(t)
	for range 2 {
		if got := second.get(s.URL()); got.status != http.StatusForbidden || strings.Contains(got.body, s.state) || strings.Contains(got.body, s.inner) {
			t.Errorf("another browser = %d, want 403 and no secret:\n%s", got.status, got.body)
		}
	}
	if got := first.get(s.URL()); got.status != http.StatusOK {
		t.Errorf("the first browser again = %d, want 200", got.status)
	}
	s = open(t, aFlow(t))
	withoutCookies := browser{t, &http.Client{Timeout: time.Minute}}
	if got := withoutCookies.get(s.URL()); got.status != http.StatusOK {
		t.Errorf("a browser without cookies = %d, want 200", got.status)
	}
	if got := withoutCookies.get(s.URL()); got.status != http.StatusForbidden || !strings.Contains(got.body, "keeps no cookies") {
		t.Errorf("a browser without cookies again = %d %s, want 403 with the reason", got.status, got.body)
	}
}

func TestRequestsFromElsewhereGetNothing(t *testing.T) {
	s := open(t, aFlow(t))
	b := entered(t, s)
	_, port, _ := strings.Cut(s.host, ":")
	for _, c := range []struct {
		name, method, path string
		header             http.Header
		status             int
	}{
		{"a name made to lead here", "GET", s.root, http.Header{"Host": {"evil.example:" + port}}, http.StatusMisdirectedRequest},
		{"another name of this machine", "GET", s.root, http.Header{"Host": {"localhost:" + port}}, http.StatusMisdirectedRequest},
		{"a host without the port", "GET", s.root, http.Header{"Host": {"127.0.0.1"}}, http.StatusMisdirectedRequest},
		{"another page's form", "POST", s.cancelPath(), http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		{"an old browser's form", "POST", s.cancelPath(), http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden},
		{"a form to the callback", "POST", s.callbackPath(), http.Header{}, http.StatusMethodNotAllowed},
		{"a form to the page", "POST", s.root, http.Header{}, http.StatusMethodNotAllowed},
		{"a link to cancel", "GET", s.cancelPath(), http.Header{}, http.StatusMethodNotAllowed},
		{"another path", "GET", s.root + "x", http.Header{}, http.StatusNotFound},
	} {
		if got := b.do(c.method, s.at(c.path), c.header); got.status != c.status {
			t.Errorf("%s: %d, want %d", c.name, got.status, c.status)
		}
	}
	for _, outside := range []string{"/", "/favicon.ico", "/callback", "/x/callback", s.root + "cancel", s.root + "result"} {
		if got := b.get("http://" + s.host + outside); got.status != http.StatusNotFound {
			t.Errorf("GET %s = %d, want 404", outside, got.status)
		}
	}
	if _, err := s.Code(canceled(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Code = %v, want that nothing came", err)
	}
}

func canceled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestTheCodeIsTakenOnce(t *testing.T) {
	s := open(t, aFlow(t))
	b := entered(t, s)
	good := url.Values{"state": {s.state}, "code": {code}}
	for _, c := range []struct {
		name   string
		query  url.Values
		status int
	}{
		{"no state", url.Values{"code": {code}}, http.StatusForbidden},
		{"an empty state", url.Values{"code": {code}, "state": {""}}, http.StatusForbidden},
		{"another state", url.Values{"code": {code}, "state": {strings.ToLower(s.state)}}, http.StatusForbidden},
		{"two states", url.Values{"code": {code}, "state": {s.state, "x"}}, http.StatusForbidden},
		{"no code", url.Values{"state": {s.state}}, http.StatusBadRequest},
		{"two codes", url.Values{"state": {s.state}, "code": {code, code}}, http.StatusBadRequest},
		{"a path for a code", url.Values{"state": {s.state}, "code": {"../../user"}}, http.StatusBadRequest},
	} {
		if got := b.get(s.callbackWith(c.query)); got.status != c.status {
			t.Errorf("%s: %d, want %d", c.name, got.status, c.status)
		}
	}
	go s.Finish(Outcome{App: "Sandbox Pass"})
	if got := b.get(s.callbackWith(good)); got.status != http.StatusOK || got.path != s.resultPath() {
		t.Errorf("the callback = %d at %s, want the result without the code", got.status, got.path)
	}
	if got, err := s.Code(t.Context()); got != code || err != nil {
		t.Errorf("Code = %q, %v, want %q", got, err, code)
	}
	good.Set("code", strings.Repeat("0", 40))
	if got := b.get(s.callbackWith(good)); got.status != http.StatusConflict {
		t.Errorf("a second code = %d, want 409", got.status)
	}
	if got, err := s.Code(canceled(t)); err == nil {
		t.Errorf("Code again = %q, want none", got)
	}
	if got := b.get(s.URL()); got.path != s.resultPath() {
		t.Errorf("the page afterwards is %s, want the result", got.path)
	}
}

func TestWaitingEnds(t *testing.T) {
	f := aFlow(t)
	f.Limit = 20 * time.Millisecond
	if _, err := open(t, f).Code(t.Context()); !errors.Is(err, ErrLate) {
		t.Errorf("Code after the limit = %v, want ErrLate", err)
	}
	s := open(t, aFlow(t))
	b := entered(t, s)
	if got := b.do(http.MethodPost, s.at(s.cancelPath()), http.Header{"Sec-Fetch-Site": {"same-origin"}}); got.status != http.StatusOK {
		t.Errorf("Cancel = %d, want 200", got.status)
	}
	if _, err := s.Code(t.Context()); !errors.Is(err, ErrCancelled) {
		t.Errorf("Code = %v, want ErrCancelled", err)
	}
	if got := b.get(s.callbackWith(url.Values{"state": {s.state}, "code": {code}})); got.status != http.StatusConflict {
		t.Errorf("a code after Cancel = %d, want 409", got.status)
	}
	if got := b.do(http.MethodPost, s.at(s.cancelPath()), http.Header{}); got.status != http.StatusConflict {
		t.Errorf("Cancel again = %d, want 409", got.status)
	}
}

func TestOpenRefuses(t *testing.T) {
	s := open(t, aFlow(t))
	for _, c := range []struct {
		name string
		edit func(*Flow)
		want string
	}{
		{"a port in use", func(f *Flow) { f.Port = port(t, s) }, "address already in use; choose another port"},
		{"no GitHub", func(f *Flow) { f.GitHub = "http://github.com" }, "want https://HOST"},
		{"no organization", func(f *Flow) { f.Org = "a/b" }, "not a name of a GitHub account"},
		{"every permission", func(f *Flow) { f.Manifest.Permissions = mint.AllPermissions() }, "by name"},
	} {
		f := aFlow(t)
		c.edit(&f)
		if s, err := Open(f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open = %v, %v, want an error with %q", c.name, s, err, c.want)
		}
	}
}
