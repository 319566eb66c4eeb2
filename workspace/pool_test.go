package workspace

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/gatepass/gatepass/workspace/profile"
)

// league is a city whose accounts have further Apps installed.
type league struct {
	*city
	apps   []fakegithub.App // the first is the city's
	own    []*mint.App      // as the program has them
	choice *mint.Pool

	mu     sync.Mutex // guards events
	events []Event
}

// newLeague has Apps called "", b, c… on acme; the limit is that of each.
func newLeague(t *testing.T, apps, limit int) *league {
	t.Helper()
	c := newCityWithLimit(t, limit)
	l := &league{city: c, choice: new(mint.Pool)}
	l.enlist(c.app)
	for n := range apps - 1 {
		app, err := c.AddApp(fakegithub.App{Slug: fmt.Sprint("gatepass-", n), Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: map[string]string{"contents": "write", "checks": "write"}})
		if err != nil {
			t.Fatal(err)
		}
		l.enlist(app)
		l.installOn("acme", n+1)
	}
	return l
}

func (l *league) enlist(app fakegithub.App) {
	l.apps = append(l.apps, app)
	l.own = append(l.own, &mint.App{ID: app.ClientID, Signer: l.key, URL: "https://github.test", Client: &http.Client{Transport: l.Transport()}, Now: l.Now})
}

// nameOf returns the name of an App in the store: b is the second.
func nameOf(at int) string { return string(rune('a' + at)) }

// installOn installs another App in addition to the first, and adds it to the store.
func (l *league) installOn(owner string, at int) int64 {
	l.t.Helper()
	in, err := l.AddInstallation(fakegithub.Installation{AppID: l.apps[at].ID, Account: owner, RepositorySelection: "all"})
	if err != nil {
		l.t.Fatal(err)
	}
	s, err := store.OfApp(l.store, nameOf(at))
	if err != nil {
		l.t.Fatal(err)
	}
	name, err := store.Installation(owner)
	if err == nil {
		err = s.Put(l.t.Context(), name, store.NewSecret(fmt.Sprint(in.ID)), store.Replace)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return in.ID
}

func (l *league) issuer() *Issuer {
	l.t.Helper()
	i := l.run(&mortal{})
	i.App = l.own[0]
	i.Audit = func(e Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, e)
	}
	i.Pool = &Pool{Choice: l.choice}
	for at := 1; at < len(l.apps); at++ {
		s, err := store.OfApp(l.store, nameOf(at))
		if err != nil {
			l.t.Fatal(err)
		}
		i.Pool.Apps = append(i.Pool.Apps, PoolApp{Name: nameOf(at), App: l.own[at], Store: s})
	}
	return i
}

// on returns the ID of an App's installation on acme.
func (l *league) on(at int) int64 {
	l.t.Helper()
	in, err := l.own[at].InstallationOf(l.t.Context(), "acme")
	if err != nil {
		l.t.Fatal(err)
	}
	return in.ID
}

// appOf returns which App minted the workspace's token for acme.
func (l *league) appOf(r *Record) int {
	l.t.Helper()
	for _, t := range r.Tokens {
		if t.State != Delivered || !strings.EqualFold(t.Owner, "acme") {
			continue
		}
		for at := range l.apps {
			if found, err := l.own[at].Installation(l.t.Context(), t.Installation); err == nil && found.ID == t.Installation {
				return at
			}
		}
	}
	return -1
}

func (l *league) create(id string, p *profile.Profile) *Record {
	l.t.Helper()
	r, err := l.issuer().Create(l.t.Context(), id, p, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

// later refreshes a workspace when its token expires soon.
func (l *league) later(id string) (*Record, error) {
	l.Advance(50 * time.Minute)
	return l.issuer().Refresh(l.t.Context(), id, false)
}

// A thousand workspaces of one owner must not use up one App while others are idle.
func TestWorkspacesAreSpreadOverTheApps(t *testing.T) {
	l := newLeague(t, 3, 0)
	p := profileOf(t, "acme/widgets")
	for n := range 1000 {
		l.create(fmt.Sprint("sb-", n), p)
	}
	minted := map[int64]int{}
	for _, token := range l.Tokens() {
		minted[token.InstallationID]++
	}
	for at := range l.apps {
		if n := minted[l.on(at)]; n < 300 || n > 367 {
			t.Errorf("App %d minted %d of 1000, want a third within 10 %%", at, n)
		}
	}
}

func TestAWorkspaceStaysWithItsApp(t *testing.T) {
	l := newLeague(t, 3, 0)
	at := l.appOf(l.create("sb-1", profileOf(t, "acme/widgets")))
	for range 100 { // another program uses that App
		if _, err := l.own[at].Self(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		r, err := l.later("sb-1")
		if err != nil {
			t.Fatal(err)
		}
		if now := l.appOf(r); now != at {
			t.Fatalf("App %d mints now, want %d as before", now, at)
		}
	}
	if slices.ContainsFunc(l.events, func(e Event) bool { return e.Type == Moved }) {
		t.Error("a move was told")
	}
}

// The App in the record must outlast its tokens: a workspace that was blocked for a day
// has the same author afterwards.
func TestTheAppIsRememberedWithoutALiveToken(t *testing.T) {
	l := newLeague(t, 2, 0)
	l.create("sb-0", profileOf(t, "acme/widgets"))
	at := l.appOf(l.create("sb-1", profileOf(t, "acme/widgets")))
	block := l.block(store.Blocked("sb-1"))
	for range 4 {
		l.Advance(20 * time.Hour)
		if _, err := l.issuer().Refresh(t.Context(), "sb-1", false); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.store.Delete(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := l.own[at].Self(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r, err := l.issuer().Refresh(t.Context(), "sb-1", false)
	if err != nil {
		t.Fatal(err)
	}
	if now := l.appOf(r); now != at {
		t.Errorf("App %d mints now, want %d as before", now, at)
	}
}

func TestAWorkspaceMovesWhenItsAppCannotMint(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(l *league, at int) error
		why   string
	}{
		{"suspended", func(l *league, at int) error { return l.Suspend(l.on(at), true) }, "suspended"},
		{"uninstalled", func(l *league, at int) error { return l.RemoveInstallation(l.on(at)) }, "Not Found"},
		{"whose key was deleted", func(l *league, at int) error { return l.RemoveKey(l.apps[at].ID, &testKey.PublicKey) }, "401"},
		{"that lost a permission", func(l *league, at int) error {
			return l.SetPermissions(l.on(at), fakegithub.Permissions{"metadata": "read"})
		}, "contents"},
		{"that has nothing left", func(l *league, at int) error {
			l.own[at].Client = &http.Client{Transport: exhausted{l.Transport()}}
			return nil
		}, "wait 1h"},
	} {
		l := newLeague(t, 3, 0)
		was := l.appOf(l.create("sb-1", profileOf(t, "acme/widgets")))
		l.Advance(20 * time.Minute) // its rate limit was read a while ago
		if err := c.spoil(l, was); err != nil {
			t.Fatal(err)
		}
		l.events = nil
		r, err := l.later("sb-1")
		if err != nil {
			t.Errorf("an App %s: Refresh = %v", c.name, err)
			continue
		}
		now := l.appOf(r)
		moved := slices.IndexFunc(l.events, func(e Event) bool { return e.Type == Moved })
		if now == was || moved < 0 || !strings.Contains(l.events[moved].Why, c.why) || l.events[moved].App != l.apps[now].ClientID {
			t.Errorf("an App %s: App %d mints, before %d; the events are %+v, want a move for %q", c.name, now, was, l.events, c.why)
		}
		kept, err := l.issuer().Load(t.Context(), "sb-1")
		if err != nil || !slices.ContainsFunc(kept.History, func(e PastEvent) bool { return e.What == "moved" && strings.Contains(e.Why, c.why) }) {
			t.Errorf("an App %s: the history is %+v, %v, want the move", c.name, kept.History, err)
		}
		l.events = nil
		if r, err := l.later("sb-1"); err != nil || l.appOf(r) != now || slices.ContainsFunc(l.events, func(e Event) bool { return e.Type == Moved }) {
			t.Errorf("an App %s: the next time App %d mints, %v, want that the workspace stays", c.name, l.appOf(r), err)
		}
	}
}

// exhausted is a GitHub that leaves an App no requests.
type exhausted struct{ http.RoundTripper }

func (e exhausted) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := e.RoundTripper.RoundTrip(r)
	if err == nil && isMintRequest(r) {
		response.StatusCode = http.StatusForbidden
		response.Header.Set("X-RateLimit-Remaining", "0")
	}
	return response, err
}

func isMintRequest(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/access_tokens")
}

func TestAKeyThatIsRotatedMovesNothing(t *testing.T) {
	l := newLeague(t, 2, 0)
	was := l.appOf(l.create("sb-1", profileOf(t, "acme/widgets")))
	key := testkey.RSA(2048, 1)
	signer, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AddKey(l.apps[was].ID, &key.PublicKey); err != nil {
		t.Fatal(err)
	}
	if err := l.RemoveKey(l.apps[was].ID, &testKey.PublicKey); err != nil {
		t.Fatal(err)
	}
	old := l.own[was]
	l.own[was] = &mint.App{ID: old.ID, Signer: signer, URL: old.URL, Client: old.Client, Now: old.Now}
	r, err := l.later("sb-1")
	if err != nil || l.appOf(r) != was {
		t.Errorf("Refresh = %v by App %d, want App %d as before", err, l.appOf(r), was)
	}
}

// checksProfile may write checks, which only the App that made them can update.
func checksProfile(t *testing.T) *profile.Profile {
	t.Helper()
	p := profileOf(t, "acme/widgets")
	p.Permissions = mint.PermissionLevels(map[string]string{"contents": "read", "checks": "write"})
	return p
}

func TestAnAppThatLacksAPermissionIsNotChosen(t *testing.T) {
	l := newLeague(t, 3, 0) // the first may not write checks
	for n := range 10 {
		if at := l.appOf(l.create(fmt.Sprint("sb-", n), checksProfile(t))); at == 0 {
			t.Errorf("App 0 minted for workspace %d", n)
		}
	}
	if refused := l.Count(func(r fakegithub.Request) bool { return isMint(r) && r.Status != 201 }); refused != 0 {
		t.Errorf("GitHub refused %d mints, want none to be tried", refused)
	}
}

func TestAWorkspaceWithChecksDoesNotMove(t *testing.T) {
	l := newLeague(t, 3, 0)
	was := l.appOf(l.create("sb-1", checksProfile(t)))
	l.Advance(20 * time.Minute)
	if err := l.Suspend(l.on(was), true); err != nil {
		t.Fatal(err)
	}
	for _, isForced := range []bool{false, true} {
		l.Advance(50 * time.Minute)
		_, err := l.issuer().Refresh(t.Context(), "sb-1", isForced)
		if err == nil || !strings.Contains(err.Error(), "checks: write") || !strings.Contains(err.Error(), "suspended") {
			t.Errorf("while its App is suspended, forced %v: Refresh = %v, want why it waits", isForced, err)
		}
	}
	if err := l.Suspend(l.on(was), false); err != nil {
		t.Fatal(err)
	}
	l.Advance(2 * time.Minute)
	if r, err := l.issuer().Refresh(t.Context(), "sb-1", false); err != nil || l.appOf(r) != was {
		t.Errorf("after that Refresh = %v by App %d, want %d", err, l.appOf(r), was)
	}
	if err := l.RemoveInstallation(l.on(was)); err != nil {
		t.Fatal(err)
	}
	l.forget(was)
	_, err := l.later("sb-1")
	if err == nil || !strings.Contains(err.Error(), "no App has installation") || !strings.Contains(err.Error(), "gatepass workspace refresh sb-1 --force") {
		t.Errorf("when its App is gone Refresh = %v, want what to do", err)
	}
	r, err := l.issuer().Refresh(t.Context(), "sb-1", true)
	if err != nil || l.appOf(r) == was || l.appOf(r) < 0 {
		t.Errorf("by force Refresh = %v by App %d, want another", err, l.appOf(r))
	}
}

// forget removes an App's installation on acme from the store.
func (l *league) forget(at int) {
	l.t.Helper()
	s, err := store.OfApp(l.store, nameOf(at))
	if err != nil {
		l.t.Fatal(err)
	}
	name, err := store.Installation("acme")
	if err == nil {
		err = s.Delete(l.t.Context(), name)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// An installation that was made again has another ID. Its App is found by asking.
func TestAnAppIsFoundByItsInstallation(t *testing.T) {
	l := newLeague(t, 3, 0)
	was := l.appOf(l.create("sb-1", checksProfile(t)))
	l.forget(was)
	if r, err := l.later("sb-1"); err != nil || l.appOf(r) != was {
		t.Errorf("Refresh = %v by App %d, want %d", err, l.appOf(r), was)
	}
}

func TestAPassGoesOnWithoutTheFirstApp(t *testing.T) {
	l := newLeague(t, 3, 0)
	for n := range 60 {
		l.create(fmt.Sprint("sb-", n), profileOf(t, "acme/widgets"))
	}
	l.Advance(45 * time.Minute)
	i := l.issuer()
	i.NotReady = fmt.Errorf("its key cannot be opened")
	i.App = &mint.App{URL: "https://github.test", Client: &http.Client{Transport: l.Transport()}, Now: l.Now}
	l.ResetRequests()
	sum, err := (&Round{Issuer: i}).Run(t.Context())
	if err != nil || sum.Minted != 60 || sum.Failed != 0 {
		t.Errorf("Round = %+v, %v, want 60 tokens by the other two", sum, err)
	}
	if others := l.Count(func(r fakegithub.Request) bool { return strings.HasPrefix(r.Path, "/app/installations/") && !isMint(r) }); others > 4 {
		t.Errorf("GitHub was asked %d times about installations, want at most once for each App, and again where it was asked long ago", others)
	}
}

// For each App separately, a refresher leaves a part of the limit to what cannot wait.
func TestEachAppHasAReserve(t *testing.T) {
	l := newLeague(t, 2, 100)
	for n := range 20 {
		l.create(fmt.Sprint("sb-", n), profileOf(t, "acme/widgets"))
	}
	l.Advance(40 * time.Minute)
	for {
		r, _ := l.own[1].Rate()
		if r.Remaining <= 5 {
			break
		}
		if _, err := l.own[1].Self(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rate, _ := l.own[1].Rate()
	w := (&Round{Issuer: l.issuer()}).worker()
	if _, err := w.due(t.Context()); err != nil {
		t.Fatal(err)
	}
	end := rate.Reset.Add(10 * time.Minute)
	if scarce, ample := w.canWait(item{ends: end, installation: l.on(1)}), w.canWait(item{ends: end, installation: l.on(0)}); !scarce || ample {
		t.Errorf("workspaces of the scarce App wait: %v, of the other: %v", scarce, ample)
	}
}
