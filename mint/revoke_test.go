package mint

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func (g *github) lag(t *testing.T, d time.Duration, status int) {
	t.Helper()
	if err := g.SetLag(d, status); err != nil {
		t.Fatal(err)
	}
}

func (g *github) mint(t *testing.T) credential.Token {
	t.Helper()
	m, err := g.app.Mint(t.Context(), g.grant())
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

// GitHub answers 401 to a new token that not all of its servers know yet
// (octokit/auth-app.js#65, #589). If that counted as the end of the token, it would
// live on for its hour.
func TestA401IsNoProofThatANewTokenIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.lag(t, 3*time.Second, http.StatusUnauthorized)
		if err := g.app.Revoke(t.Context(), g.mint(t)); err != nil || len(g.Tokens()) != 0 {
			t.Errorf("Revoke = %v with %d live tokens, want it tried until it is revoked", err, len(g.Tokens()))
		}
		g.lag(t, 20*time.Second, http.StatusUnauthorized)
		token := g.mint(t)
		err := g.app.Revoke(t.Context(), token)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != BadToken || strings.Contains(err.Error(), "key") {
			t.Errorf("Revoke = %v, want kind BadToken, and nothing about the App's key", err)
		}
		time.Sleep(20 * time.Second)
		if err := g.app.Revoke(t.Context(), token); err != nil || len(g.Tokens()) != 0 {
			t.Errorf("Revoke later = %v with %d live tokens, want it revoked", err, len(g.Tokens()))
		}
	})
}

// Whichever clock is wrong, and by whichever clock the token's expiry is, a 401 for a
// token is believed after its first minute and not before.
func TestTheAgeOfATokenByEitherClock(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name       string
		ours, ends time.Duration // how far our clock is off, and how far the one of the expiry is
	}{
		{"right clocks", 0, 0},
		{"ours ahead, the end by GitHub's", 2 * time.Hour, 0},
		{"ours ahead, the end by ours", 2 * time.Hour, 2 * time.Hour},
		{"ours behind, the end by GitHub's", -2 * time.Hour, 0},
		{"ours behind, the end by ours", -2 * time.Hour, -2 * time.Hour},
	} {
		token := credential.NewToken("ghs_x", now.Add(c.ends+credential.Lifetime))
		for age, want := range map[time.Duration]bool{0: true, 59 * time.Second: true, 61 * time.Second: false, 50 * time.Minute: false} {
			if got := isYounger(mintedAt(token), proofAge, now.Add(age+c.ours), now.Add(age)); got != want {
				t.Errorf("%s, %v old: isYounger = %v, want %v", c.name, age, got, want)
			}
		}
	}
}

// Only this call knows of a token that must not be used: it is not left alive because
// GitHub does not know it everywhere yet.
func TestATooWideTokenIsTakenBackHoweverLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.lag(t, 40*time.Second, http.StatusUnauthorized)
		g.app.Client = &http.Client{Transport: meddler{g.Transport(), func(o map[string]any) { o["repository_selection"] = "all" }}}
		m, err := g.app.Mint(t.Context(), g.grant())
		if !errors.Is(err, ErrWider) || m.Unconfirmed != 0 || len(g.Tokens()) != 0 {
			t.Errorf("Mint = %+v, %v with %d live tokens, want %v and none", m, err, len(g.Tokens()), ErrWider)
		}
	})
}

// The same delay on reads would refuse a workspace its repositories, and make its
// operator look for a fault in the App's key.
func TestReadsWithANewTokenAreTriedAgain(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		synctest.Test(t, func(t *testing.T) {
			g := newGitHub(t)
			g.lag(t, 3*time.Second, status)
			resolve := func(texts ...string) error {
				_, err := g.app.Resolve(t.Context(), patterns(t, texts...), contents("read"), g.installed())
				return err
			}
			if err := resolve("acme/*"); err != nil {
				t.Errorf("%d: Resolve = %v, want GitHub asked again", status, err)
			}
			if err := g.RenameRepository("acme", "gadgets", "novelties"); err != nil {
				t.Fatal(err)
			}
			if e, ok := errors.AsType[*Error](resolve("acme/w*", "acme/gadgets")); !ok || e.Kind != Renamed {
				t.Errorf("%d: Resolve = %v, want the new name", status, e)
			}
			if names, err := g.app.TokenRepositories(t.Context(), g.mint(t), 2); err != nil || len(names) != 1 {
				t.Errorf("%d: Opened = %q, %v, want the one repository", status, names, err)
			}
			if live := g.Tokens(); len(live) != 1 {
				t.Errorf("%d: %d tokens are alive, want the last one alone", status, len(live))
			}
			g.lag(t, 20*time.Second, status)
			err := resolve("acme/*")
			if e, ok := errors.AsType[*Error](err); !ok || e.Status != status || e.Kind == BadKey || strings.Contains(err.Error(), "key") {
				t.Errorf("%d: Resolve = %v, want GitHub's answer, and nothing about the App's key", status, err)
			}
		})
	}
}

// A caller that has no time left does not wait, and a rate limit of GitHub does not
// count as such a delay.
func TestALagIsNotWaitedForInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.lag(t, 20*time.Second, http.StatusUnauthorized)
		token := g.mint(t)
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := g.app.Revoke(ctx, token); err == nil {
			t.Error("Revoke = nil, want an error: the token lives")
		}
		time.Sleep(20 * time.Second)
		g.Fail(fakegithub.To(http.MethodGet, "/installation/repositories"), fakegithub.SecondaryRateLimited(time.Hour), -1)
		began := time.Now()
		if _, err := g.app.TokenRepositories(t.Context(), g.mint(t), 2); err == nil || time.Since(began) > time.Second {
			t.Errorf("TokenRepositories = %v after %v, want the limit at once", err, time.Since(began))
		}
	})
}
