package broker

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
)

// answers is a GitHub that answers what the test sets, and remembers the requests.
type answers struct {
	installation mint.Installation
	minted       mint.Minted
	err          error
	asked        []mint.Grant
}

func (a *answers) InstallationFor(context.Context, string, string) (mint.Installation, error) {
	return a.installation, nil
}

func (a *answers) InstallationForID(context.Context, int64) (mint.Installation, error) {
	return a.installation, nil
}

func (a *answers) Mint(_ context.Context, g mint.Grant) (mint.Minted, error) {
	a.asked = append(a.asked, g)
	return a.minted, a.err
}

func TestASuspendedInstallationMintsNothing(t *testing.T) {
	a := &answers{installation: mint.Installation{ID: 1, Account: mint.Account{Login: "Acme"}, SuspendedAt: time.Now()}}
	_, err := minted(a)(t.Context(), widgets)
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Status != http.StatusForbidden || !strings.Contains(r.Detail, "suspended") || len(a.asked) != 0 {
		t.Errorf("Minted = %v with %d mints, want 403 and none", err, len(a.asked))
	}
}

// A repository found by its id is not requested from another account's installation.
func TestARepositoryByItsIDStaysWithItsAccount(t *testing.T) {
	a := &answers{installation: mint.Installation{ID: 1, Account: mint.Account{Login: "Other"}}}
	s := widgets
	s.AnyName, s.Grant.Repositories = true, mint.RepositoryIDs(5)
	_, err := minted(a)(t.Context(), s)
	if r := RefusalOf(err); r.Status != http.StatusForbidden || len(a.asked) != 0 {
		t.Errorf("Minted = %v with %d mints, want 403 and none", err, len(a.asked))
	}
	if s.Key() == widgets.Key() {
		t.Error("a token for any name is shared with those who ask for one name")
	}
}

// A token that gives less access is returned with the refusal, to be revoked.
func TestATokenThatOpensLessIsRefused(t *testing.T) {
	token := credential.NewToken("ghs_x", time.Now().Add(time.Hour))
	a := &answers{installation: mint.Installation{ID: 1, Account: mint.Account{Login: "Acme"}}, minted: mint.Minted{Token: token, Narrower: []string{"contents: write"}}}
	m, err := minted(a)(t.Context(), widgets)
	r, ok := errors.AsType[*Refusal](err)
	if !ok || r.Status != http.StatusForbidden || !strings.Contains(r.Detail, "less than the broker requested: contents: write") || m.Token.Secret() != "ghs_x" {
		t.Errorf("Minted = %v, %v, want 403 that says what is lacking, and the token", m.Token, err)
	}
	a.minted.Narrower = nil
	if m, err := minted(a)(t.Context(), widgets); err != nil || m.Token.Secret() != "ghs_x" || a.asked[1].Owner != "Acme" || a.asked[1].Installation != 1 {
		t.Errorf("Minted = %v, %v of %+v, want the token, by Acme's installation", m.Token, err, a.asked)
	}
}

// The kind of a failure decides what the caller is told, and when to retry.
func TestWhatBecomesOfGitHubsRefusals(t *testing.T) {
	of := func(kind mint.Kind) error {
		return &mint.Error{Kind: kind, Op: "mint a token", Message: "secret-of-the-broker", RetryAfter: time.Minute}
	}
	const callers, later, ours, away = "mint a token", "rate limit is used up", "cannot authenticate", "GitHub is unavailable"
	for _, c := range []struct {
		name   string
		err    error
		status int
		want   string
		after  time.Duration
	}{
		{"not installed", of(mint.NotInstalled), 403, callers, 0},
		{"not granted", of(mint.NotGranted), 403, callers, 0},
		{"renamed", of(mint.Renamed), 403, callers, 0},
		{"replaced", of(mint.Replaced), 403, callers, 0},
		{"suspended", of(mint.Suspended), 403, callers, 0},
		{"too often", of(mint.RateLimited), 503, later, time.Minute},
		{"a key that GitHub refuses", of(mint.BadKey), 503, ours, time.Minute},
		{"a key that cannot be had", of(mint.Unsigned), 503, ours, time.Minute},
		{"a clock that is off", of(mint.Skewed), 503, ours, time.Minute},
		{"GitHub is away", of(mint.Unavailable), 503, away, time.Minute},
		{"GitHub is away for a moment", &mint.Error{Kind: mint.Unavailable, Op: "mint a token"}, 503, away, RetryAfter},
		{"no answer in time", context.DeadlineExceeded, 503, "did not answer in time", RetryAfter},
	} {
		a := &answers{installation: mint.Installation{ID: 1}, err: c.err}
		_, err := minted(a)(t.Context(), widgets)
		r, ok := errors.AsType[*Refusal](err)
		if !ok || r.Status != c.status || r.RetryAfter != c.after || !strings.Contains(r.Detail, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %d after %v with %q", c.name, err, c.status, c.after, c.want)
		}
		if ok && c.status == 503 && strings.Contains(r.Detail, "secret-of-the-broker") {
			t.Errorf("%s: the caller is told %q, which is not its business", c.name, r.Detail)
		}
	}
	other := errors.New("something else")
	if _, err := minted(&answers{err: other})(t.Context(), widgets); !errors.Is(err, other) {
		t.Errorf("Minted = %v, want what went wrong", err)
	} else if r, ok := errors.AsType[*Refusal](err); ok {
		t.Errorf("Minted = %v, want no answer for the caller", r)
	}
}

// A token that must not be given, and cannot be revoked yet because not all of GitHub's
// servers know it, is known only to this broker. It is not forgotten.
func TestWhatCannotBeTakenBackIsTriedAgain(t *testing.T) {
	now, away := time.Now(), errors.New("GitHub answered 401")
	var asked, revoked []string
	b := &UnusedRevoker{
		Now: func() time.Time { return now },
		Revoke: func(_ context.Context, t credential.Token) error {
			asked = append(asked, t.Secret())
			return away
		},
		Revoked: func(t credential.Token) { revoked = append(revoked, t.Secret()) },
	}
	ends := map[string]time.Duration{"ghs_a": time.Hour, "ghs_b": time.Minute}
	for secret, life := range ends {
		if err := b.RevokeUnused(t.Context(), credential.NewToken(secret, now.Add(life))); !errors.Is(err, away) {
			t.Errorf("Take = %v, want %v", err, away)
		}
	}
	if err := b.Retry(t.Context()); !errors.Is(err, away) || len(asked) != 4 {
		t.Errorf("Retry = %v after %q, want both asked for again", err, asked)
	}
	now, away, asked = now.Add(2*time.Minute), nil, nil
	for range 2 {
		if err := b.Retry(t.Context()); err != nil {
			t.Errorf("Retry = %v", err)
		}
	}
	if want := []string{"ghs_a"}; !slices.Equal(asked, want) || !slices.Equal(revoked, want) {
		t.Errorf("asked for %q and revoked %q, want %q once: the other has ended", asked, revoked, want)
	}
}
