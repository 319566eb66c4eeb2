package mint

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func patterns(t *testing.T, texts ...string) []Pattern {
	t.Helper()
	var all []Pattern
	for _, text := range texts {
		p, err := ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func (g *github) listings() int {
	return g.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/installation/repositories") })
}

func (g *github) installed() []Installation {
	return []Installation{{ID: g.installation, Account: Account{Login: "acme"}}}
}

// Many workspaces that start together list an installation once, and the token that
// reads the list is revoked.
func TestCatalogListsOnce(t *testing.T) {
	g := newGitHub(t)
	var known Catalog
	var wg sync.WaitGroup
	for _, pattern := range []string{"acme/*", "acme/w*", "acme/g*", "acme/*"} {
		wg.Go(func() {
			if _, err := g.app.ResolveFrom(t.Context(), &known, patterns(t, pattern), contents("read"), g.installed()); err != nil {
				t.Errorf("ResolveFrom(%s) = %v", pattern, err)
			}
		})
	}
	wg.Wait()
	if n := g.listings(); n != 1 {
		t.Errorf("the installation was listed %d times, want once", n)
	}
	if live := g.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive, want the reader revoked", len(live))
	}
}

// An incomplete list is not taken as complete.
func TestCatalogForgetsWhatBrokeOff(t *testing.T) {
	g := newGitHub(t)
	var known Catalog
	g.Fail(fakegithub.To(http.MethodGet, "/installation/repositories"), fakegithub.Status(http.StatusBadRequest), 1)
	resolve := func() error {
		_, err := g.app.ResolveFrom(t.Context(), &known, patterns(t, "acme/*"), contents("read"), g.installed())
		return err
	}
	if err := resolve(); err == nil {
		t.Fatal("ResolveFrom succeeds, want GitHub's error")
	}
	if err := resolve(); err != nil || g.listings() != 2 {
		t.Errorf("ResolveFrom again = %v after %d listings, want it done by a second one", err, g.listings())
	}
}

func TestRateIsWhatGitHubLeaves(t *testing.T) {
	g := newGitHub(t)
	if rate, ok := g.app.Rate(); ok {
		t.Errorf("Rate = %+v before GitHub said anything", rate)
	}
	for want := 4999; want > 4996; want-- {
		m, err := g.app.Mint(t.Context(), g.grant())
		if err != nil {
			t.Fatal(err)
		}
		if err := g.app.Revoke(t.Context(), m.Token); err != nil { // counts for the token, not for the App
			t.Fatal(err)
		}
		if rate, ok := g.app.Rate(); !ok || rate.Limit != 5000 || rate.Remaining != want || rate.Reset.Before(g.Now()) {
			t.Errorf("Rate = %+v, %v, want %d left", rate, ok, want)
		}
	}
}

// Answers that arrive in another order do not give back used requests.
func TestRateDoesNotGrowWithinItsHour(t *testing.T) {
	var r rate
	header := func(remaining, reset string) http.Header {
		return http.Header{"X-Ratelimit-Limit": {"10"}, "X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}}
	}
	for _, c := range []struct {
		remaining, reset string
		want             int
	}{
		{"5", "1000", 5}, {"7", "1000", 5}, {"4", "1000", 4}, {"9", "900", 4}, {"9", "2000", 9}, {"-1", "2000", 9}, {"x", "3000", 9}, {"1", "", 9},
	} {
		r.update(call{}, header(c.remaining, c.reset))
		if r.known.Remaining != c.want {
			t.Errorf("after %s of window %s: %d left, want %d", c.remaining, c.reset, r.known.Remaining, c.want)
		}
	}
}

// Tokens that GitHub may have made although no answer arrived are counted.
func TestMintCountsWhatItDidNotSee(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault fakegithub.Fault
		times int
		want  int
	}{
		{"an answer at once", fakegithub.Status(http.StatusTooManyRequests), 0, 0},
		{"a reset, then an answer", fakegithub.Reset(), 1, 1},
		{"two that are cut off, then an answer", fakegithub.Truncate(10), 2, 2},
		{"a 502, then an answer", fakegithub.Status(http.StatusBadGateway), 1, 1},
		{"a refusal that passes", fakegithub.SecondaryRateLimited(time.Second), 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGitHub(t)
				g.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), c.fault, c.times)
				m, err := g.app.Mint(t.Context(), g.grant())
				if err != nil || m.Unconfirmed != c.want {
					t.Errorf("Mint = %d unseen, %v, want %d", m.Unconfirmed, err, c.want)
				}
				if live := len(g.Tokens()); live > 1+c.want {
					t.Errorf("%d tokens are alive, more than %d are accounted for", live, 1+c.want)
				}
			})
		})
	}
}

func TestAFailedMintCountsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Truncate(10), -1)
		_, err := g.app.Mint(t.Context(), g.grant())
		failure, ok := errors.AsType[*Error](err)
		if !ok || failure.Kind != Unavailable || failure.Unconfirmed != len(g.Tokens()) || failure.Unconfirmed != maxAttempts {
			t.Errorf("Mint = %v with %d live tokens, want an error that counts them", err, len(g.Tokens()))
		}
	})
}

func TestAKeyThatCannotSignIsNotGitHubsFault(t *testing.T) {
	g := newGitHub(t)
	g.app.Signer = brokenSigner{}
	_, err := g.app.Mint(t.Context(), g.grant())
	failure, ok := errors.AsType[*Error](err)
	if !ok || failure.Kind != Unsigned || failure.Unconfirmed != 0 || !strings.Contains(err.Error(), "the KMS is asleep") {
		t.Errorf("Mint = %v, want an error of the key", err)
	}
	if n := g.Count(func(fakegithub.Request) bool { return true }); n != 0 {
		t.Errorf("GitHub was asked %d times, want 0", n)
	}
}
