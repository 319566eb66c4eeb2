package broker

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/gatepass/gatepass/workspace/profile"
)

// players are Apps of a pool that answer as the test says.
type players struct {
	mint.Pool
	members []Member
}

func (p *players) Members(context.Context, string) []Member { return p.members }

// InstallationFor, InstallationForID and Mint are for a GitHub with one App; no test
// calls them.
func (p *players) InstallationFor(context.Context, string, string) (mint.Installation, error) {
	return mint.Installation{}, errors.New("asked beside the pool")
}

func (p *players) InstallationForID(context.Context, int64) (mint.Installation, error) {
	return mint.Installation{}, errors.New("asked beside the pool")
}

func (p *players) Mint(context.Context, mint.Grant) (mint.Minted, error) {
	return mint.Minted{}, errors.New("asked beside the pool")
}

// newPlayers returns n Apps that may read contents and write checks.
func newPlayers(n int) (*players, []*answers) {
	p := new(players)
	var all []*answers
	for at := range n {
		a := &answers{
			installation: mint.Installation{ID: int64(at + 1), Account: mint.Account{Login: "acme"}, Permissions: map[string]string{"contents": "write", "checks": "write"}},
			minted:       mint.Minted{Token: credential.NewToken(fmt.Sprint("ghs_", at), time.Now().Add(time.Hour))},
		}
		all = append(all, a)
		p.members = append(p.members, Member{Minter: a, Candidate: mint.Candidate{App: new(mint.App), Name: fmt.Sprint("app-", at)}})
	}
	return p, all
}

// refuse makes GitHub refuse an App.
func (a *answers) refuse(kind mint.Kind) {
	a.minted, a.err = mint.Minted{}, &mint.Error{Kind: kind, Op: "mint"}
}

// scopeOf returns the scope of a workspace with tokens of its own.
func scopeOf(workspace string, levels map[string]string) Scope {
	s := widgets
	s.Author, s.Grant.Permissions = authorWorkspace+workspace, mint.PermissionLevels(levels)
	return s
}

var (
	toRead  = map[string]string{"contents": "read"}
	toCheck = map[string]string{"checks": "write"}
)

// whoMints returns the index of the App that mints for a scope.
func whoMints(t *testing.T, p *players, s Scope) (int, mint.Minted, error) {
	t.Helper()
	m, err := minted(p)(t.Context(), s)
	at := -1
	if err == nil {
		fmt.Sscanf(m.Token.Secret(), "ghs_%d", &at)
	}
	return at, m, err
}

// Replicas have no list of who uses which App, and still agree.
func TestAllReplicasAskTheSameApp(t *testing.T) {
	one, _ := newPlayers(3)
	two, _ := newPlayers(3)
	turns := make([]int, 3)
	for n := range 1000 {
		id := fmt.Sprint("sb-", n)
		at, _, err := whoMints(t, one, scopeOf(id, toRead))
		if err != nil {
			t.Fatal(err)
		}
		write, _, _ := whoMints(t, two, scopeOf(id, map[string]string{"contents": "write"}))
		other := scopeOf(id, toRead)
		other.Repo.Name = "gadgets"
		again, _, _ := whoMints(t, two, other)
		if write != at || again != at {
			t.Fatalf("workspace %s has Apps %d, %d and %d", id, at, write, again)
		}
		turns[at]++
	}
	for _, n := range turns {
		if n < 300 || n > 367 {
			t.Errorf("the Apps have %v workspaces, want a third each within 10 %%", turns)
		}
	}
}

// Workspaces that share tokens share the App, by the profile's name, and each repository
// has its own turn.
func TestAProfileHasAnAppForEachRepository(t *testing.T) {
	p, _ := newPlayers(3)
	seen := map[int]bool{}
	for n := range 30 {
		s := widgets
		s.Author, s.For, s.Repo.Name = "profile a", "profile a 1", fmt.Sprint("widgets-", n)
		at, _, err := whoMints(t, p, s)
		if err != nil {
			t.Fatal(err)
		}
		seen[at] = true
		s.For = "profile a 2" // the profile's file changed
		if again, _, _ := whoMints(t, p, s); again != at {
			t.Errorf("a changed profile moves %s to another App", s.Repo)
		}
	}
	if len(seen) != 3 {
		t.Errorf("thirty repositories have %d Apps, want all three", len(seen))
	}
}

func TestAnotherAppMintsWhereOneCannot(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(*players, []*answers, int)
		reason string // why another App mints
		checks bool   // the same for checks
	}{
		{"suspended", func(_ *players, all []*answers, at int) { all[at].installation.SuspendedAt = time.Now() }, "suspended", false},
		{"not granted enough", func(_ *players, all []*answers, at int) {
			all[at].installation.Permissions = map[string]string{"metadata": "read"}
		}, "lacks ", true},
		{"uninstalled", func(_ *players, all []*answers, at int) {
			all[at].refuse(mint.NotInstalled)
		}, "mint", true},
		{"with a key that GitHub refuses", func(_ *players, all []*answers, at int) { all[at].refuse(mint.BadKey) }, "mint", false},
		{"out of requests", func(_ *players, all []*answers, at int) {
			all[at].refuse(mint.RateLimited)
		}, "rate limit", false},
		{"that cannot be opened", func(p *players, _ []*answers, at int) {
			p.members[at].Err, p.members[at].App = errors.New("no key"), nil
		}, "", false},
	} {
		for _, levels := range []map[string]string{toRead, toCheck} {
			p, all := newPlayers(3)
			s := scopeOf("sb-1", levels)
			was, _, err := whoMints(t, p, s)
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(p, all, was)
			now, m, err := whoMints(t, p, s)
			moves := c.checks || levels["checks"] == ""
			if moves && (err != nil || now == was || !strings.Contains(m.FallbackReason, c.reason)) {
				t.Errorf("an App %s, for %v: App %d mints before, %d now (%q), %v, want another", c.name, levels, was, now, m.FallbackReason, err)
			}
			if !moves && err == nil {
				t.Errorf("an App %s, for %v: App %d mints before, %d now, want that the workspace waits", c.name, levels, was, now)
			}
		}
	}
}

func TestNoAppCanMint(t *testing.T) {
	p, all := newPlayers(2)
	for _, a := range all {
		a.installation.SuspendedAt = time.Now()
	}
	_, _, err := whoMints(t, p, scopeOf("sb-1", toRead))
	if r := RefusalOf(err); r.Status != http.StatusForbidden || !strings.Contains(r.Detail, "suspended") {
		t.Errorf("with all suspended it is %v, want 403 that says so", err)
	}
	for at := range p.members {
		p.members[at].Err = &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonGitHub, Detail: "no App"}
	}
	_, _, err = whoMints(t, p, scopeOf("sb-1", toRead))
	if r := RefusalOf(err); r.Status != http.StatusServiceUnavailable {
		t.Errorf("with none that can be opened it is %v, want 503", err)
	}
}

// A token that GitHub minted is returned with the error to be revoked, and must not be
// lost when another App mints.
func TestATokenThatOpensLessIsNotForgotten(t *testing.T) {
	p, all := newPlayers(2)
	for _, a := range all {
		a.minted.Narrower = []string{"contents: read"}
	}
	m, err := minted(p)(t.Context(), scopeOf("sb-1", toRead))
	if err == nil || m.Token.IsZero() {
		t.Errorf("it is %v, %v, want the token and an error", m.Token, err)
	}
	if asked := len(all[0].asked) + len(all[1].asked); asked != 1 {
		t.Errorf("%d Apps minted, want one", asked)
	}
}

// A single App is used as without a pool: its own error, and no check of permissions.
func TestAPoolOfOne(t *testing.T) {
	p, all := newPlayers(1)
	all[0].installation.Permissions = nil
	if at, m, err := whoMints(t, p, scopeOf("sb-1", toRead)); err != nil || at != 0 || m.FallbackReason != "" {
		t.Errorf("it is %d, %v, want that it mints", at, err)
	}
}

// Candidates and Preferred make players a Pooled.
func (p *players) Candidates(string) (seats []mint.Candidate) {
	for _, m := range p.members {
		if m.Err == nil {
			seats = append(seats, m.Candidate)
		}
	}
	return seats
}

// Rate and Revoke make players a GitHub.
func (p *players) Rate() (mint.Rate, bool) {
	return mint.Rate{Limit: 5000, Remaining: 1, Reset: time.Now().Add(time.Hour)}, true
}

func (p *players) Revoke(context.Context, credential.Token) error { return nil }

func (p *players) Accepts(context.Context, credential.Token) (bool, error) { return true, nil }

// limitedTo is a GitHub that leaves an App so many of 100 requests.
type limitedTo int

func (l limitedTo) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("X-RateLimit-Limit", "100")
	w.Header().Set("X-RateLimit-Remaining", fmt.Sprint(int(l)))
	w.Header().Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(time.Hour).Unix()))
	w.WriteHeader(http.StatusNotFound)
	return w.Result(), nil
}

// If one App's limit is used up, workspaces of the other App still get new tokens.
func TestEachAppHasABudget(t *testing.T) {
	p, _ := newPlayers(2)
	key := testkey.RSA(2048, 1)
	signer, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if err != nil {
		t.Fatal(err)
	}
	leave := func(at, left int) {
		t.Helper()
		p.members[at].App = &mint.App{ID: "Iv23li", Signer: signer, URL: "https://github.test", Client: &http.Client{Transport: limitedTo(left)}}
		_, _ = p.members[at].App.Self(t.Context()) // a 404 with the rate limit headers
		if r, ok := p.members[at].App.Rate(); !ok || r.Remaining != left {
			t.Fatalf("App %d has %+v, %v", at, r, ok)
		}
	}
	c := Config{GitHub: p, TokenTime: time.Now}
	b := c.budgets(&Budget{Rate: p.Rate})
	allowed := func() (n int) {
		for n < 50 && b.allow("sb-1", scopeOf("sb-1", toCheck), false) == nil {
			n++
		}
		return n
	}
	turn, _, err := whoMints(t, p, scopeOf("sb-1", toCheck))
	if err != nil {
		t.Fatal(err)
	}
	leave(turn, 10)
	leave(1-turn, 90)
	if n := allowed(); n != 10 {
		t.Errorf("a workspace of an App with 10 requests left may cause %d mints, want its share of 10", n)
	}
	if err := b.allow("sb-1", scopeOf("sb-1", toRead), true); err != nil {
		t.Errorf("what another App mints is refused: %v", err)
	}
	leave(turn, 90)
	if n := allowed(); n != 50 {
		t.Errorf("with enough left it may cause %d mints, want all 50", n)
	}
	p.members = p.members[:1]
	if err := b.allow("sb-1", scopeOf("sb-1", toRead), true); err == nil {
		t.Error("with one App the one budget does not count")
	}
}

// A session named the bot of the first App as the author of commits, while another App
// minted the workspace's tokens.
func TestAppOfIsTheAppThatMints(t *testing.T) {
	p, _ := newPlayers(3)
	for at := range p.members {
		p.members[at].App.ID = fmt.Sprint("Iv", at)
	}
	b := &Broker{Config: Config{GitHub: p}}
	own := &profile.Profile{Sharing: profile.ShareNothing}
	shared := &profile.Profile{Name: "ci"}
	seen := map[string]bool{}
	for n := range 30 {
		w := Workspace{ID: fmt.Sprint("sb-", n), Profile: own}
		repo := gitname.Repo{Owner: "acme", Name: fmt.Sprint("widgets-", n)}
		for _, w.Profile = range []*profile.Profile{own, shared} {
			s := widgets
			s.Author, s.Repo = authorOf(w), repo
			at, _, err := whoMints(t, p, s)
			if got, want := b.AppOf(w, repo), fmt.Sprint("Iv", at); err != nil || got != want {
				t.Errorf("AppOf(%s, %s) = %q, %v, want %q, which mints", w.ID, repo, got, err, want)
			}
			seen[b.AppOf(w, repo)] = true
		}
	}
	if len(seen) != 3 {
		t.Errorf("the Apps are %v, want all three", seen)
	}
}

// A session without a repository has the App of the only one that its profile names.
func TestAppOfASessionWithoutARepository(t *testing.T) {
	p, _ := newPlayers(3)
	for at := range p.members {
		p.members[at].App.ID = fmt.Sprint("Iv", at)
	}
	b := &Broker{Config: Config{GitHub: p}}
	for _, c := range []struct {
		repos, sharing string
		as             gitname.Repo // the repository whose App it has; zero for none
	}{
		{repos: "[Acme/Widgets]", as: gitname.Repo{Owner: "acme", Name: "widgets"}},
		{repos: "[acme/widgets, acme/gadgets]"},
		{repos: "[acme/*]"},
		{repos: `["*"]`},
		{repos: "[]"},
		{repos: "[acme/widgets, acme/gadgets]", sharing: "workspace", as: gitname.Repo{Owner: "acme", Name: "any"}},
		{repos: "[acme/*]", sharing: "workspace", as: gitname.Repo{Owner: "acme", Name: "any"}},
		{repos: "[acme/*, octo/*]", sharing: "workspace"},
		{repos: `["*"]`, sharing: "workspace"},
	} {
		sharing := ""
		if c.sharing != "" {
			sharing = ", sharing: " + c.sharing
		}
		one, err := profile.Parse([]byte("metadata: {name: ci}\nspec: {sourceAccess: {github: {allowedRepos: " + c.repos + sharing + "}}}"))
		if err != nil {
			t.Fatal(err)
		}
		w, want := Workspace{ID: "sb-1", Profile: one}, ""
		if c.as.IsValid() {
			want = b.AppOf(w, c.as)
		}
		if got := b.AppOf(w, gitname.Repo{}); got != want || c.as.IsValid() && got == "" {
			t.Errorf("%s, sharing %q: %q, want %q", c.repos, c.sharing, got, want)
		}
	}
	p.members = p.members[:1]
	if got := b.AppOf(Workspace{ID: "sb-1", Profile: &profile.Profile{Name: "ci"}}, gitname.Repo{Owner: "acme", Name: "widgets"}); got != "" {
		t.Errorf("with one App: %q, want none to name", got)
	}
}
