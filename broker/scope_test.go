package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/workspace/profile"
)

// A fixedBlocker returns what the test sets.
type fixedBlocker struct {
	is  bool
	err error
}

func (b *fixedBlocker) BlockedFor(context.Context, string, string) (bool, error) { return b.is, b.err }

func (b *fixedBlocker) Blocked(context.Context, string) (bool, error) { return b.is, b.err }

// The block is checked before a token is minted, and again before it is given. If it
// cannot be checked, it counts as blocked.
func TestTheBlockIsLookedAtTwice(t *testing.T) {
	away := errors.New("the store is away")
	for _, c := range []struct {
		name          string
		before, after fixedBlocker
		asked         bool
		status        int // 0 means that a token is given
	}{
		{"no workspace is blocked", fixedBlocker{}, fixedBlocker{}, true, 0},
		{"blocked before", fixedBlocker{is: true}, fixedBlocker{}, false, http.StatusForbidden},
		{"blocked meanwhile", fixedBlocker{}, fixedBlocker{is: true}, true, http.StatusForbidden},
		{"the blocks cannot be read", fixedBlocker{err: away}, fixedBlocker{}, false, http.StatusServiceUnavailable},
		{"the blocks cannot be read any more", fixedBlocker{}, fixedBlocker{err: away}, true, http.StatusServiceUnavailable},
	} {
		b, block, asked := newBench(t), c.before, false
		vend := authorized(&block, func(_ context.Context, _ Workspace, _ api.TokenRequest, s Scope) (Grant, error) {
			asked, block = true, c.after
			return Grant{Token: credential.NewToken("ghs_x", time.Now().Add(time.Hour)), Scope: s}, nil
		})
		w := Workspace{ID: "sb-1", Policy: b.policy, Profile: b.profile("[acme/widgets]", "[clone]")}
		g, err := vend(t.Context(), w, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, Operation: "read"})
		status := 0
		if refusal, ok := errors.AsType[*Refusal](err); ok {
			status = refusal.Status
		}
		if asked != c.asked || status != c.status || g.Token.IsZero() != (c.status != 0) {
			t.Errorf("%s: asked = %v, answer %v, %v, want asked = %v and status %d", c.name, asked, g.Token, err, c.asked, c.status)
		}
		if err != nil && strings.Contains(err.Error(), "ghs_x") {
			t.Errorf("%s: the error shows the token: %v", c.name, err)
		}
	}
}

func TestWhichIDARepositoryHasToHave(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		name    string
		repos   string
		asked   int64
		want    int64
		refused bool
	}{
		{"the profile does not say", "[acme/widgets]", 0, 0, false},
		{"who asks says", "[acme/widgets]", 7, 7, false},
		{"the profile says", "['acme/widgets#7']", 0, 7, false},
		{"both say the same", "['acme/widgets#7']", 7, 7, false},
		{"they differ", "['acme/widgets#7']", 8, 0, true},
		{"another repository", "['acme/gadgets#7']", 7, 0, true},
	} {
		w := Workspace{ID: "sb-1", Policy: b.policy, Profile: b.profile(c.repos, "[clone]")}
		s, err := Authorize(w, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, RepositoryID: c.asked, Operation: "read"})
		if s.RepositoryID() != c.want || (err != nil) != c.refused {
			t.Errorf("%s: Authorize = %+v, %v, want the id %d, refused = %v", c.name, s, err, c.want, c.refused)
		}
	}
	if s, err := Authorize(Workspace{ID: "sb-1"}, api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, Operation: "read"}); err == nil {
		t.Errorf("Authorize without a policy = %+v, want a refusal", s)
	}
}

// repositoryID asks for a token for acme/widgets, and returns the id of its repository.
func repositoryID(t *testing.T, got *httptest.ResponseRecorder) int64 {
	t.Helper()
	var answer struct {
		IDs []int64 `json:"repository_ids"`
	}
	if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil || got.Code != 200 || len(answer.IDs) != 1 {
		t.Fatalf("answer = %d %s, want a token with the id of its repository", got.Code, got.Body)
	}
	return answer.IDs[0]
}

func (b *bench) pinned(caller string, id int64) *httptest.ResponseRecorder {
	return b.ask(caller, "/v1/token", "application/json", fmt.Sprintf(`{"host":"github.com","repo":"acme/widgets","operation":"read","repository_id":%d}`, id))
}

// take renames acme/widgets, and gives its name to a new repository.
func (b *bench) take() {
	b.t.Helper()
	if err := b.RenameRepository("acme", "widgets", "gadgets"); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		b.t.Fatal(err)
	}
}

// forget makes the next request get a new token.
func (b *bench) forget() {
	b.t.Helper()
	b.cache.Drop(func(Scope, credential.Token) bool { return true })
	for name, err := range b.store.List(b.t.Context(), store.AllShared()) {
		if err == nil {
			err = b.store.Delete(b.t.Context(), name)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestAnIDIsAskedFor(t *testing.T) {
	b := newBench(t)
	id := repositoryID(t, b.token("ci", "acme/widgets", "read"))
	if got := repositoryID(t, b.pinned("ci", id)); got != id {
		t.Errorf("a token asked for by id opens %d, want %d", got, id)
	}
	last := b.journal.entries[len(b.journal.entries)-1]
	if last.RepositoryID != id {
		t.Errorf("the last line says id %d, want %d", last.RepositoryID, id)
	}
	b.take()
	// A given token gives access to the repository that it was given for, whatever its
	// name.
	if got := repositoryID(t, b.pinned("ci", id)); got != id {
		t.Errorf("a token asked for by id opens %d, want %d", got, id)
	}
	b.forget()
	refused := b.pinned("ci", id)
	if refused.Code != 403 || !strings.Contains(refused.Body.String(), fmt.Sprintf("does not have the ID %d", id)) {
		t.Errorf("after the name was taken: %d %s, want 403", refused.Code, refused.Body)
	}
	if got := repositoryID(t, b.token("ci", "acme/widgets", "read")); got == id {
		t.Errorf("a token asked for by name alone opens %d, want the new repository", got)
	}
}

func TestAProfilePinsAnID(t *testing.T) {
	b := newBench(t)
	id := repositoryID(t, b.token("ci", "acme/widgets", "read"))
	b.policy.Rules[0].Profile = b.profile(fmt.Sprintf("['acme/*', 'acme/widgets#%d']", id), "[push]")
	if got := repositoryID(t, b.token("ci", "acme/widgets", "read")); got != id {
		t.Errorf("a token opens %d, want %d", got, id)
	}
	refused := b.pinned("ci", id+1000)
	if refused.Code != 403 || !strings.Contains(refused.Body.String(), fmt.Sprintf("allows acme/widgets with the ID %d, not %d", id, id+1000)) {
		t.Errorf("another id: %d %s, want 403", refused.Code, refused.Body)
	}
	before := len(b.Tokens())
	b.take()
	b.forget()
	refused = b.token("ci", "acme/widgets", "read")
	if refused.Code != 403 || !strings.Contains(refused.Body.String(), "acme/gadgets now") {
		t.Errorf("after the name was taken: %d %s, want 403", refused.Code, refused.Body)
	}
	if after := len(b.Tokens()); after != before {
		t.Errorf("%d tokens are alive, want the %d of before", after, before)
	}
}

// A workspace that guesses ids does not learn the names of repositories outside of its
// profile.
func TestAnIDThatIsGuessedTellsNoName(t *testing.T) {
	b := newBench(t)
	secret, err := b.AddRepository(fakegithub.Repository{Owner: "acme", Name: "unannounced"})
	if err != nil {
		t.Fatal(err)
	}
	b.policy.Rules[0].Profile = b.profile("[acme/widgets]", "[push]")
	want := fmt.Sprintf("acme/widgets does not have the ID %d", secret.ID)
	if got := b.pinned("ci", secret.ID); got.Code != 403 || !strings.Contains(got.Body.String(), want) || strings.Contains(got.Body.String(), secret.Name) {
		t.Errorf("a guessed id: %d %s, want 403 with %q", got.Code, got.Body, want)
	}
	b.policy.Rules[0].Profile = b.profile("[acme/widgets, 'acme/un*']", "[push]")
	if got := b.pinned("ci", secret.ID); got.Code != 403 || !strings.Contains(got.Body.String(), "acme/unannounced now") {
		t.Errorf("the id of what the profile has: %d %s, want 403 with the name", got.Code, got.Body)
	}
}

// GitHub still redirects the former name of a repository, but here it gives no access.
func TestAFormerNameOpensNothing(t *testing.T) {
	b := newBench(t)
	if err := b.RenameRepository("acme", "widgets", "gadgets"); err != nil {
		t.Fatal(err)
	}
	got := b.token("ci", "acme/widgets", "read")
	if got.Code != 403 || !strings.Contains(got.Body.String(), "it has another name now") {
		t.Errorf("a former name: %d %s, want 403", got.Code, got.Body)
	}
}

// A rule's token limit holds whatever its profile allows, for every kind of request.
// With none, no token leaves the broker, and none is minted.
func TestTokenLimits(t *testing.T) {
	const (
		read       = `{"host":"github.com","repo":"acme/widgets","operation":"read"}`
		write      = `{"host":"github.com","repo":"acme/widgets","operation":"write"}`
		permission = `{"host":"github.com","repo":"acme/widgets","operation":"read","permissions":{"contents":"write"}}`
		narrow     = `{"host":"github.com","repo":"acme/widgets","operation":"read","permissions":{"contents":"read"}}`
	)
	for _, c := range []struct {
		limit  TokenLimit
		body   string
		status int
		detail string
	}{
		{TokensWrite, write, http.StatusOK, ""},
		{TokensRead, read, http.StatusOK, ""},
		{TokensRead, narrow, http.StatusOK, ""},
		{TokensRead, write, http.StatusForbidden, "the rule ci gives read tokens only; push through the git gateway"},
		{TokensRead, permission, http.StatusForbidden, "read tokens only"},
		{TokensNone, read, http.StatusForbidden, "the rule ci gives no tokens; use the git gateway"},
		{TokensNone, narrow, http.StatusForbidden, "no tokens"},
		{TokensNone, write, http.StatusForbidden, "no tokens"},
		{"an unknown limit", read, http.StatusForbidden, "no tokens"},
	} {
		b := newBench(t)
		b.policy.Rules[0].Tokens = c.limit
		got := b.ask("ci", "/v1/token", "application/json", c.body)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.detail) {
			t.Errorf("%q, %s: %d %s, want %d with %q", c.limit, c.body, got.Code, got.Body, c.status, c.detail)
		}
		if c.status != http.StatusOK && (b.mints() != 0 || strings.Contains(got.Body.String(), "ghs_")) {
			t.Errorf("%q, %s: %d tokens were minted; answered %s", c.limit, c.body, b.mints(), got.Body)
		}
	}
}

func sharing(t *testing.T, name, sharing, comment string) *profile.Profile {
	t.Helper()
	p, err := profile.Parse([]byte("# " + comment + "\nmetadata: {name: " + name + "}\nspec: {sourceAccess: {github: {allowedRepos: [acme/widgets], permissions: [clone]" + sharing + "}}}"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// When a shared token is revoked, all workspaces that share it lose it. Workspaces of
// one profile share; those of a changed profile do not share with those of its earlier
// version.
func TestWhoSharesAToken(t *testing.T) {
	a, b := sharing(t, "a", "", ""), sharing(t, "b", "", "")
	own := sharing(t, "a", ", sharing: workspace", "")
	for _, c := range []struct {
		name     string
		one, two Workspace
		want     bool
	}{
		{"two of one profile", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: a}, true},
		{"one profile that was read twice", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: sharing(t, "a", "", "")}, true},
		{"sharing: profile, in another text", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: sharing(t, "a", ", sharing: profile", "")}, false},
		{"two profiles that say the same", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: b}, false},
		{"a profile before and after it was changed", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: sharing(t, "a", "", "changed")}, false},
		{"a profile whose workspaces share nothing", Workspace{ID: "x", Profile: own}, Workspace{ID: "y", Profile: own}, false},
		{"one workspace of it", Workspace{ID: "x", Profile: own}, Workspace{ID: "x", Profile: own}, true},
		{"and one of before it said so", Workspace{ID: "x", Profile: own}, Workspace{ID: "x", Profile: a}, false},
	} {
		policy := &Policy{Hosts: []string{"github.com"}}
		c.one.Policy, c.two.Policy = policy, policy
		ask := api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, Operation: "read"}
		one, err := Authorize(c.one, ask)
		if err != nil {
			t.Fatal(err)
		}
		two, err := Authorize(c.two, ask)
		if err != nil {
			t.Fatal(err)
		}
		if got := one.Key() == two.Key(); got != c.want {
			t.Errorf("%s: share = %v, want %v (%q, %q)", c.name, got, c.want, one.Key(), two.Key())
		}
	}
}
