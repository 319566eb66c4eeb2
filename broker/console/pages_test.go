package console

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/brokertest"
)

// A tab is a browser with cookies that says where forms come from.
type tab struct {
	*bench
	cookies []*http.Cookie
	site    string // Sec-Fetch-Site; "" sends none
	tls     bool
}

func (b *bench) tab() *tab { return &tab{bench: b, site: "same-origin"} }

func (b *tab) send(method, target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.tls {
		r.TLS = new(tls.ConnectionState)
	}
	if b.site != "" {
		r.Header.Set("Sec-Fetch-Site", b.site)
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	if set := w.Result().Cookies(); len(set) > 0 {
		b.cookies = set
	}
	return w
}

func (b *tab) signIn(token string) *httptest.ResponseRecorder {
	return b.send("POST", loginPath, url.Values{"token": {token}})
}

func wantText(t *testing.T, what string, got *httptest.ResponseRecorder, status int, texts ...string) {
	t.Helper()
	wantCode(t, what, got, status)
	shown := got.Body.String() + html.UnescapeString(got.Body.String())
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			t.Errorf("%s lacks %q:\n%s", what, text, got.Body)
		}
	}
}

func TestThePageIsForOperators(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	tab := b.tab()
	wantText(t, "the page to a stranger", tab.send("GET", "/", nil), 401, "Sign in", `type="password"`)
	if body := tab.send("GET", "/", nil).Body.String(); strings.Contains(body, "sb-1") {
		t.Error("a stranger sees workspaces")
	}
	wantText(t, "a wrong token", tab.signIn("operator-of-another-broker-x"), 403, "not an operator")
	got := tab.signIn(brokertest.OperatorToken)
	wantCode(t, "the token", got, 303)
	cookie := got.Result().Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.MaxAge != 8*3600 || strings.Contains(cookie.Value, brokertest.OperatorToken) {
		t.Errorf("the cookie is %v", cookie)
	}
	wantText(t, "the page", tab.send("GET", "/", nil), 200, "sb-1", "sandboxes", "acme/widgets", "Signed in as <strong>night", b.alive()[0][:12], "min left of 60", "acme", "octo", "of 5000", "head-of-the-")
	logins := b.Journal.Of(broker.KindLogin)
	if len(logins) != 2 || logins[0].Decision != broker.Refused || logins[1].Rule != "night" {
		t.Errorf("the journal has %+v, want both logins", logins)
	}
	wantCode(t, "sign out", tab.send("POST", logoutPath, nil), 303)
	wantText(t, "the page afterwards", tab.send("GET", "/", nil), 401, "Sign in")
}

func TestALoginEnds(t *testing.T) {
	b := newBench(t)
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	rules := b.Policy.Operators
	b.Policy.Operators = []broker.OperatorRule{{Name: "night", Key: "another", By: rules[0].By}}
	wantCode(t, "after the rule changed", tab.send("GET", "/", nil), 401)
	b.Policy.Operators = rules
	wantCode(t, "with the rule", tab.send("GET", "/", nil), 200)
	b.Advance(8*time.Hour + time.Second)
	wantCode(t, "after eight hours", tab.send("GET", "/", nil), 401)
	for _, value := range []string{"", "x", "e30.x", strings.Repeat("a", 5000)} {
		tab.cookies = []*http.Cookie{{Name: plainCookie, Value: value}}
		wantCode(t, "with cookie "+value, tab.send("GET", "/", nil), 401)
	}
}

// A copy of the cookie is useless once its owner has signed out, at any replica, and
// also while that cannot be checked.
func TestSigningOutEndsTheLoginEverywhere(t *testing.T) {
	g := brokertest.NewGitHub(t)
	one, two := newReplica(g), newReplica(g)
	tab, other := one.tab(), one.tab()
	tab.signIn(brokertest.OperatorToken)
	other.signIn(brokertest.OperatorToken)
	copied := two.tab()
	copied.cookies = slices.Clone(tab.cookies)
	wantCode(t, "the copy at another replica", copied.send("GET", "/", nil), 200)
	tab.site = "cross-site"
	wantCode(t, "signed out by another site", tab.send("POST", logoutPath, nil), 403)
	wantCode(t, "the copy", copied.send("GET", "/", nil), 200)
	tab.site = "same-origin"
	kept := two.console.Store
	two.console.Store = away{kept}
	got := copied.send("GET", "/", nil)
	if wantCode(t, "the copy while the store cannot be read", got, 503); got.Header().Get("Retry-After") == "" {
		t.Error("nothing says when to try again")
	}
	two.console.Store = kept
	wantCode(t, "sign out", tab.send("POST", logoutPath, nil), 303)
	form := url.Values{"kind": {"app"}}
	wantCode(t, "the copy", copied.send("GET", "/", nil), 401)
	wantCode(t, "the copy's question", copied.send("GET", revokePath+"?"+form.Encode(), nil), 401)
	wantCode(t, "the copy's form", copied.send("POST", revokePath, form), 401)
	copied.bench = one
	wantCode(t, "the copy at the first replica", copied.send("GET", "/", nil), 401)
	wantCode(t, "another login of the operator", other.send("GET", "/", nil), 200)
	// The mark is deleted when the login would have expired.
	b := one
	b.Advance(9 * time.Hour)
	for range 2 {
		_, err := b.console.Revoker.Reconcile(t.Context())
		if err == nil {
			_, err = b.console.Revoker.DeleteExpired(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range g.Store.List(t.Context(), store.UsedProofs()) {
		t.Errorf("%v, %v is left", name, err)
	}
}

// If signing out cannot be recorded, it fails, and the login stays valid.
func TestSigningOutSaysWhenItFails(t *testing.T) {
	b := newBench(t)
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	b.console.Store = away{b.console.Store}
	got := tab.send("POST", logoutPath, nil)
	if wantCode(t, "sign out", got, 503); len(got.Result().Cookies()) != 0 {
		t.Error("the cookie is taken away, and its copies hold")
	}
}

// away is a store in which logins cannot be read, and writes fail.
type away struct{ store.Store }

func (u away) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	if store.UsedProofs().Has(n) {
		return store.Entry{}, errors.New("it is away")
	}
	return u.Store.Get(ctx, n)
}

func (u away) Put(context.Context, store.Name, store.Secret, store.Mode) error {
	return errors.New("it is away")
}

func TestTheCookieIsSecureOverTLS(t *testing.T) {
	b := newBench(t)
	tab := b.tab()
	tab.tls = true
	tab.signIn(brokertest.OperatorToken)
	if c := tab.cookies[0]; !c.Secure || c.Name != secureCookie || c.Path != "/" {
		t.Errorf("the cookie is %v, want it for TLS only", c)
	}
	wantCode(t, "the page", tab.send("GET", "/", nil), 200)
}

func TestLoginsAreLimited(t *testing.T) {
	b := newBench(t)
	tab := b.tab()
	for range maxAttempts {
		wantCode(t, "a wrong token", tab.signIn("x"), 403)
	}
	late := tab.signIn(brokertest.OperatorToken)
	wantText(t, "the right one too late", late, 429, "Too many attempts")
	if after := late.Header().Get("Retry-After"); after != "60" {
		t.Errorf("Retry-After is %q, want 60", after)
	}
	b.Advance(attemptWindow)
	wantCode(t, "a minute later", tab.signIn(brokertest.OperatorToken), 303)
}

// Wrong tokens from other addresses do not lock out operators.
func TestWrongTokensOfOthers(t *testing.T) {
	b := newBench(t)
	others := b.console.logins
	for i := range 1000 {
		address := fmt.Sprintf("2001:db8:0:%x::/64", i)
		for range 2 * maxAttempts {
			_ = others.Count(address)
		}
	}
	wantCode(t, "an operator", b.tab().signIn(brokertest.OperatorToken), 303)
}

// Revoking asks for confirmation on a page that changes nothing, and accepts forms of
// this page only.
func TestRevokeOnThePage(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	tab := b.tab()
	form := url.Values{"kind": {"workspace"}, "name": {"sb-1"}}
	wantCode(t, "a stranger", tab.send("POST", revokePath, form), 401)
	tab.signIn(brokertest.OperatorToken)
	wantText(t, "the question", tab.send("GET", revokePath+"?"+form.Encode(), nil), 200, "Block workspace sb-1?", "1 token that is alive now stops")
	if n := len(b.alive()); n != 1 {
		t.Fatalf("the question alone leaves %d tokens, want 1", n)
	}
	for _, site := range []string{"cross-site", "same-site", "none", ""} {
		tab.site = site
		got := tab.send("POST", revokePath, form)
		wantCode(t, "from "+site, got, 403)
	}
	if n := len(b.alive()); n != 1 {
		t.Fatalf("forms of other pages leave %d tokens, want 1", n)
	}
	tab.site = "same-origin"
	got := tab.send("POST", revokePath, form)
	wantCode(t, "the answer", got, 303)
	if n := len(b.alive()); n != 0 || got.Header().Get("Location") != "/?revoked=1&pending=0&others=0" {
		t.Errorf("%d tokens are alive, to %q, want none", n, got.Header().Get("Location"))
	}
	wantText(t, "the page", tab.send("GET", "/?revoked=1&pending=0", nil), 200, "Blocked. 1 token revoked.", "blocked", `aria-label="Unblock workspace sb-1"`)
	got = tab.send("POST", unblockPath, form)
	wantCode(t, "unblock", got, 303)
	wantText(t, "the page", tab.send("GET", got.Header().Get("Location"), nil), 200, "Unblocked.")
	wantCode(t, "the workspace", b.Token("sb-1", "acme/widgets", "read"), 200)
	for _, form := range []url.Values{{"kind": {"workspace"}}, {"kind": {"owner"}, "name": {"<b>"}}, {"name": {"../x"}}} {
		wantText(t, "a form with "+form.Encode(), tab.send("POST", revokePath, form), 400, "<h1>Bad Request</h1>")
	}
	if blocked := b.Journal.Of(broker.KindBlocked); len(blocked) != 1 || blocked[0].Rule != "night" {
		t.Errorf("the journal has %+v, want who blocked", blocked)
	}
}

func TestKillOnThePage(t *testing.T) {
	b := newBench(t)
	b.MustToken("ci", "acme/widgets", "read")
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	wantText(t, "the question", tab.send("GET", revokePath+"?kind=app&name=", nil), 200, "Block everything of the App?")
	wantCode(t, "the answer", tab.send("POST", revokePath, url.Values{"kind": {"app"}}), 303)
	wantText(t, "the page", tab.send("GET", "/", nil), 200, "Everything is blocked.")
	if n := len(b.alive()); n != 0 {
		t.Errorf("%d tokens are alive, want none", n)
	}
	// A page of an earlier version that is still open sends its form there.
	wantCode(t, "unblock by its former address", tab.send("POST", admitPath, url.Values{"kind": {"app"}}), 303)
	wantCode(t, "the workspace", b.Token("ci", "acme/widgets", "read"), 200)
}

// Callers' texts are shown as text only, and the page contains no token.
func TestThePageIsHarmless(t *testing.T) {
	b := newBench(t)
	secret := b.MustToken("ci", "acme/widgets", "read")
	b.Do("x", "POST", "/v1/token", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`)
	recorder := b.console.Recorder
	evil := `"><script>alert(1)</script>`
	recorder.note(broker.Entry{Kind: broker.KindRequest, Decision: broker.Refused, Workspace: evil, Reason: evil, Detail: evil, Repository: evil})
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	got := tab.send("GET", "/?revoked=%3Cscript%3E&pending=1", nil)
	body := got.Body.String()
	if strings.Contains(body, "<script") || strings.Contains(body, secret) || strings.Contains(body, brokertest.OperatorToken) || strings.Contains(body, `style="`) {
		t.Errorf("the page has a script, a token or a style of its own:\n%s", body)
	}
	wantText(t, "the page", got, 200, "&lt;script&gt;", "no caller rule matches this identity")
	h := got.Header()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		"Cache-Control":           "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
	} {
		if h.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, h.Get(name), want)
		}
	}
}

// What cannot be read is replaced by an error, and the rest is shown.
func TestThePageWithoutGitHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it waits
		b := newBench(t)
		b.App.Client = &http.Client{Transport: failing{}}
		tab := b.tab()
		tab.signIn(brokertest.OperatorToken)
		page := tab.send("GET", "/", nil)
		wantText(t, "the page", page, 200, "The broker cannot ask GitHub where the App is installed.", "No workspace has a token yet.")
		if strings.Contains(page.Body.String(), "not installed on any account") {
			t.Error("the page says that the App is not installed, want that it does not know")
		}
	})
}

// Tokens that cannot be read may be alive: the page counts none of them, and never says that
// a workspace has none.
func TestThePageWithoutTheTokens(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	b.console.Store = withoutTokens{b.console.Store}
	page := tab.send("GET", "/", nil)
	wantText(t, "the page", page, 200, "The store cannot be read.", "sb-1", "unknown", "the store cannot be read")
	tokens, _, _ := strings.Cut(page.Body.String(), `<h2 id="refused">`)
	for _, wrong := range []string{">none<", "none in use", "Tokens alive</h2><p class=\"big\">0"} {
		if strings.Contains(tokens, wrong) {
			t.Errorf("the page says %q of tokens that it cannot read", wrong)
		}
	}
}

// withoutTokens is a store whose tokens cannot be read.
type withoutTokens struct{ store.Store }

func (u withoutTokens) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	if n.IsVended() {
		return store.Entry{}, errors.New("it is away")
	}
	return u.Store.Get(ctx, n)
}

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("gone") }

func TestTheRecorderIsBounded(t *testing.T) {
	r := &Recorder{Next: new(brokertest.MemoryJournal)}
	refuse := func(workspace string, i int) {
		_ = r.Write(t.Context(), broker.Entry{Kind: broker.KindRequest, Decision: broker.Refused, Workspace: workspace, Time: time.Unix(int64(i), 0)}, false)
	}
	for i := range 3 * maxRefused {
		refuse(fmt.Sprint("w", i), i)
	}
	last := r.Refused()
	if len(last) != maxRefused || !last[0].Time.Equal(time.Unix(3*maxRefused-1, 0)) || !slices.IsSortedFunc(last, func(a, b broker.Entry) int { return b.Time.Compare(a.Time) }) {
		t.Errorf("Refused has %d, first of %s, want the last %d, the latest first", len(last), last[0].Time, maxRefused)
	}
	// Callers without identity, or one workspace, hide few entries of others.
	for i := range 10 * maxRefused {
		refuse("", i)
		refuse("loud", i)
	}
	_ = r.Write(t.Context(), broker.Entry{Kind: broker.KindRequest, Decision: broker.Refused, Operation: strings.Repeat("<", 30_000)}, false)
	last = r.Refused()
	if n := len(last[0].Operation); n > 1024 {
		t.Errorf("Refused has a text of %d bytes", n)
	}
	if n := countIf(last, func(e broker.Entry) bool { return e.Workspace != "" && e.Workspace != "loud" }); n != maxRefused-maxUnknown-maxOfOne {
		t.Errorf("Refused has %d of the others, want %d", n, maxRefused-maxUnknown-maxOfOne)
	}
	paper := new(brokertest.MemoryJournal)
	paper.Fail(errors.New("no space"))
	if err := (&Recorder{Next: paper}).Write(t.Context(), broker.Entry{Kind: broker.KindRequest}, true); err == nil {
		t.Error("Write = nil, want the journal's error")
	}
}

func TestPagesOfWorkspaces(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"sb-3", "sb-1", "sb-2", "ci"} {
		b.MustToken(id, "acme/widgets", "read")
	}
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	wantText(t, "the page of sb-", tab.send("GET", "/?prefix=sb-&after=sb-1", nil), 200, "sb-2", "sb-3")
	if body := tab.send("GET", "/?prefix=sb-&after=sb-1", nil).Body.String(); strings.Contains(body, ">sb-1<") || strings.Contains(body, ">ci<") {
		t.Error("the page shows what was not asked for")
	}
	var ids []string
	for after := ""; ; {
		page := operate[struct {
			Workspaces []struct {
				ID, Rule, Profile string
				Tokens            []struct {
					Hash string `json:"hashed_token"`
				}
			}
			Next string
		}](b, "GET", "/v1/workspaces?limit=3&after="+after, "", 200)
		for _, w := range page.Workspaces {
			ids = append(ids, w.ID)
			if len(w.Tokens) != 1 || !slices.Contains(b.alive(), w.Tokens[0].Hash) || w.Rule == "" || w.Profile == "" {
				t.Errorf("%+v, want its token, rule and profile", w)
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if want := []string{"ci", "sb-1", "sb-2", "sb-3"}; !slices.Equal(ids, want) {
		t.Errorf("the pages list %q, want %q", ids, want)
	}
}
