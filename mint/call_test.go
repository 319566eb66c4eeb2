package mint

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func (g *github) mints() int {
	return g.Count(func(r fakegithub.Request) bool { return r.Method == http.MethodPost })
}

// GitHub may refuse a caller that is too fast with a 403 that has no Retry-After and
// requests left. That does not refuse the request itself, and GitHub blocks a caller
// that asks again for longer (scala-steward-org/scala-steward#2355): one such answer
// pauses the whole App, for a minute and each time twice as long.
func TestASecondaryLimitHoldsBackTheApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		cancel := g.Fail(func(*http.Request) bool { return true }, fakegithub.SecondaryRateLimited(-1), -1)
		for n, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
			for range 30 {
				_, err := g.app.Mint(t.Context(), g.grant())
				if e, ok := errors.AsType[*Error](err); !ok || e.Kind != RateLimited || e.RetryAfter != want {
					t.Fatalf("Mint = %v, want a rate limit of %v", err, want)
				}
			}
			if _, err := g.app.Self(t.Context()); err == nil {
				t.Error("Self is asked during the pause")
			}
			if g.mints() != n+1 {
				t.Errorf("GitHub was asked %d times, want %d", g.mints(), n+1)
			}
			time.Sleep(want)
		}
		cancel()
		if _, err := g.app.Mint(t.Context(), g.grant()); err != nil {
			t.Fatalf("Mint after the pause = %v", err)
		}
		g.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.SecondaryRateLimited(-1), 1)
		_, err := g.app.Mint(t.Context(), g.grant())
		if e, ok := errors.AsType[*Error](err); !ok || e.RetryAfter != time.Minute {
			t.Errorf("Mint = %v, want a minute again after a success", err)
		}
	})
}

// How a rate limit differs from a refusal.
func TestRateLimitsByTheirWords(t *testing.T) {
	for _, c := range []struct {
		name          string
		status        int
		message, docs string
		header        http.Header
		want          Kind
	}{
		{"a secondary limit", 403, "You have exceeded a secondary rate limit.", "", nil, RateLimited},
		{"its former words", 403, "You have triggered an abuse detection mechanism.", "", nil, RateLimited},
		{"its page", 403, "Please wait.", "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits", nil, RateLimited},
		{"429", 429, "", "", nil, RateLimited},
		{"requests used up", 403, "x", "", http.Header{"X-Ratelimit-Remaining": {"0"}}, RateLimited},
		{"a date to wait for", 403, "x", "", http.Header{"Retry-After": {"Wed, 01 Apr 2026 12:00:00 GMT"}}, RateLimited},
		{"a refusal", 403, "Resource not accessible by integration", "https://docs.github.com/rest/apps/apps", nil, Refused},
		{"a repository called so", 404, "no repository rate limit", "", nil, NotInstalled},
	} {
		r := &http.Response{StatusCode: c.status, Header: c.header}
		if e := classify("x", r, refusal{c.message, c.docs}, time.Now()); e.Kind != c.want {
			t.Errorf("%s is of kind %d, want %d", c.name, e.Kind, c.want)
		}
	}
}

// A time in GitHub's answer is compared with the Date of the same answer.
func TestRetryAfterByGitHubsClock(t *testing.T) {
	theirs := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	for name, header := range map[string]http.Header{
		"seconds":            {"Retry-After": {"90"}},
		"a date":             {"Retry-After": {theirs.Add(90 * time.Second).Format(http.TimeFormat)}},
		"the hour's new one": {"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"1775044890"}},
	} {
		header.Set("Date", theirs.Format(http.TimeFormat))
		r := &http.Response{StatusCode: 403, Header: header}
		if e := classify("x", r, refusal{}, theirs.Add(2*time.Hour)); e.RetryAfter != 90*time.Second || e.isUnstated {
			t.Errorf("%s: RetryAfter = %v, want 90s", name, e.RetryAfter)
		}
	}
}

// The hourly limit of one installation does not affect the others, nor does that of the
// App's JWT affect revocations: a kill switch works meanwhile.
func TestAnHourlyLimitHoldsBackItsOwn(t *testing.T) {
	g := newGitHub(t)
	m, err := g.app.Mint(t.Context(), g.grant())
	if err != nil {
		t.Fatal(err)
	}
	exhausted := rewriting(func(r *http.Response) {
		if r.Request.Method == http.MethodPost {
			r.StatusCode = http.StatusForbidden
			r.Header.Set("X-RateLimit-Remaining", "0")
		}
	}, g.app.Client.Transport)
	g.app.Client = &http.Client{Transport: exhausted}
	for range 3 {
		_, err = g.app.Mint(t.Context(), g.grant())
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != RateLimited || e.RetryAfter < 50*time.Minute {
			t.Fatalf("Mint = %v, want that the hour's requests are used up", err)
		}
	}
	if g.mints() != 2 {
		t.Errorf("GitHub was asked %d times, want 2", g.mints())
	}
	if err := g.app.Revoke(t.Context(), m.Token); err != nil {
		t.Errorf("Revoke = %v, want it done", err)
	}
}

// Calls wait together for a short pause, and one whose deadline is before its end fails
// at once instead of waiting.
func TestWaitingAtTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.SecondaryRateLimited(10*time.Second), 1)
		begun := time.Now()
		var running sync.WaitGroup
		running.Go(func() {
			if _, err := g.app.Mint(t.Context(), g.grant()); err != nil || time.Since(begun) < 10*time.Second {
				t.Errorf("Mint = %v after %v, want a token after the pause", err, time.Since(begun))
			}
		})
		synctest.Wait()
		for range 5 {
			running.Go(func() {
				if _, err := g.app.Mint(t.Context(), g.grant()); err != nil || time.Since(begun) < 10*time.Second {
					t.Errorf("Mint = %v after %v, want a token after the pause", err, time.Since(begun))
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := g.app.Mint(ctx, g.grant())
		if e, ok := errors.AsType[*Error](err); !ok || e.RetryAfter != 10*time.Second || time.Since(begun) > time.Second {
			t.Errorf("Mint = %v after %v, want the rate limit at once", err, time.Since(begun))
		}
		if g.mints() != 1 {
			t.Errorf("GitHub was asked %d times during the pause, want once", g.mints())
		}
		running.Wait()
	})
}

// The error names an IP allow list: the App and its key are in order.
func TestAnIPAllowListIsNamed(t *testing.T) {
	g := newGitHub(t)
	g.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.NotOnIPAllowList("acme"), 1)
	_, err := g.app.Mint(t.Context(), g.grant())
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != NotListed {
		t.Errorf("Mint = %v, want the IP allow list", err)
	}
}

// A worker of the second system slept through GitHub's rate limits, and all other
// objects waited with it. An App with Once returns at once, whatever the answer.
func TestOnceDoesNotWait(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault fakegithub.Fault
		kind  Kind
		after time.Duration
	}{
		{"a secondary limit of ten seconds", fakegithub.SecondaryRateLimited(10 * time.Second), RateLimited, 10 * time.Second},
		{"a secondary limit that does not say", fakegithub.SecondaryRateLimited(-1), RateLimited, time.Minute},
		{"an outage", fakegithub.Status(502), Unavailable, 0},
		{"a broken connection", fakegithub.Reset(), Unavailable, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGitHub(t)
			g.app.Once = true
			cancel := g.Fail(fakegithub.To("POST", "/access_tokens"), c.fault, -1)
			began := time.Now()
			_, err := g.app.Mint(t.Context(), g.grant())
			if e, ok := errors.AsType[*Error](err); !ok || e.Kind != c.kind || e.RetryAfter != c.after {
				t.Errorf("%s: Mint = %v, want kind %d after %v", c.name, err, c.kind, c.after)
			}
			if g.mints() != 1 || time.Since(began) != 0 {
				t.Errorf("%s: %d attempts in %v, want one at once", c.name, g.mints(), time.Since(began))
			}
			cancel()
			_, err = g.app.Mint(t.Context(), g.grant())
			if isHeld := c.after > 0; isHeld != (err != nil) || time.Since(began) != 0 {
				t.Errorf("%s: the next Mint = %v after %v, want a pause kept without waiting: %v", c.name, err, time.Since(began), isHeld)
			}
			time.Sleep(c.after)
			if _, err = g.app.Mint(t.Context(), g.grant()); err != nil {
				t.Errorf("%s: Mint after the pause = %v", c.name, err)
			}
		})
	}
}

// A wrong clock does not end the attempts: the next attempt uses the right time.
func TestOnceStillLearnsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.app.Once = true
		g.app.Now = func() time.Time { return time.Now().Add(time.Hour) }
		if _, err := g.app.Mint(t.Context(), g.grant()); err != nil {
			t.Errorf("Mint with a clock that is an hour ahead = %v", err)
		}
	})
}

func TestOnceRevokesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.app.Once = true
		g.lag(t, 3*time.Second, http.StatusUnauthorized)
		token, began := g.mint(t), time.Now()
		err := g.app.Revoke(t.Context(), token)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != BadToken || time.Since(began) != 0 {
			t.Errorf("Revoke = %v after %v, want kind BadToken at once", err, time.Since(began))
		}
		time.Sleep(3 * time.Second)
		if err := g.app.Revoke(t.Context(), token); err != nil || len(g.Tokens()) != 0 {
			t.Errorf("Revoke later = %v with %d live tokens", err, len(g.Tokens()))
		}
	})
}

// Only the App knows of a token that must not be used. The caller does not wait for its
// revocation, but it does not stay alive either.
func TestOnceSettlesWhatItOwes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.app.Once = true
		g.lag(t, 20*time.Second, http.StatusUnauthorized)
		g.app.Client = &http.Client{Transport: meddler{g.Transport(), func(o map[string]any) { o["repository_selection"] = "all" }}}
		began := time.Now()
		m, err := g.app.Mint(t.Context(), g.grant())
		if !errors.Is(err, ErrWider) || m.Unconfirmed != 0 || g.app.PendingRevokes() != 1 || time.Since(began) != 0 {
			t.Fatalf("Mint = %+v, %v after %v with %d pending, want %v at once and one owed", m, err, time.Since(began), g.app.PendingRevokes(), ErrWider)
		}
		if err := g.app.RevokePending(t.Context()); err == nil || g.app.PendingRevokes() != 1 {
			t.Errorf("RevokePending = %v with %d pending, want the token kept while GitHub does not know it", err, g.app.PendingRevokes())
		} else if strings.Contains(err.Error(), "ghs_") {
			t.Errorf("the error shows the token: %v", err)
		}
		next := &App{ID: g.app.ID, Signer: g.signer, URL: g.app.URL, Client: g.app.Client, Once: true}
		next.Inherit(g.app)
		time.Sleep(20 * time.Second)
		if err := next.RevokePending(t.Context()); err != nil || next.PendingRevokes() != 0 || g.app.PendingRevokes() != 0 || len(g.Tokens()) != 0 {
			t.Errorf("RevokePending = %v with %d pending and %d live tokens, want none", err, next.PendingRevokes(), len(g.Tokens()))
		}
	})
}

// A token that has expired meanwhile needs no request.
func TestWhatIsOwedRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.app.Once = true
		token := g.mint(t)
		g.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(502), -1)
		if err := g.app.RevokeUnused(t.Context(), token); err != nil || g.app.PendingRevokes() != 1 {
			t.Fatalf("RevokeUnused = %v with %d pending, want it kept", err, g.app.PendingRevokes())
		}
		time.Sleep(time.Hour + time.Second)
		if err := g.app.RevokePending(t.Context()); err != nil || g.app.PendingRevokes() != 0 {
			t.Errorf("RevokePending = %v with %d pending, want a dead token forgotten", err, g.app.PendingRevokes())
		}
	})
}
