package mint

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/clocktest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// off sets the difference of the App's clock from GitHub's.
func (g *github) off(ahead time.Duration) { g.app.Now = func() time.Time { return g.Now().Add(ahead) } }

// A machine whose clock is wrong gets a token that lives an hour by GitHub's clock, and
// learns the difference from any answer: it needs no refusal
// (sanitizers/octomachinery#75).
func TestTheClockIsLearnedFromAnswers(t *testing.T) {
	for _, ahead := range []time.Duration{0, 3 * time.Second, 40 * time.Second, 2 * time.Hour, -2 * time.Hour} {
		g := newGitHub(t)
		g.off(ahead)
		if _, ok := g.app.Ahead(); ok {
			t.Error("Ahead is known before GitHub answered")
		}
		m, err := g.app.Mint(t.Context(), g.grant())
		if err != nil {
			t.Fatalf("%v ahead: Mint = %v", ahead, err)
		}
		if left := m.Token.Expiry.Sub(g.app.Time()); (left - time.Hour).Abs() > 10*time.Second {
			t.Errorf("%v ahead: the token lasts %v by Time, want an hour", ahead, left)
		}
		learned, ok := g.app.Ahead()
		if !ok || (learned-ahead).Abs() > clockTolerance || ahead.Abs() < clockTolerance && learned != 0 {
			t.Errorf("Ahead = %v, %v, want %v", learned, ok, ahead)
		}
		problem := g.app.ClockProblem()
		if isOff := ahead.Abs() > ClockWarning; isOff != (problem != "") || isOff && !strings.Contains(problem, "of GitHub's") && !strings.Contains(problem, "behind GitHub's") {
			t.Errorf("%v ahead: ClockProblem = %q", ahead, problem)
		}
	}
}

// Sync asks once a minute, at once after the clock was set, and not again and again if
// GitHub does not answer.
func TestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		var set time.Duration
		g.app.Now = func() time.Time { return time.Now().Round(0).Add(set) }
		asked := func() int { return g.Count(func(r fakegithub.Request) bool { return r.Path == "/rate_limit" }) }
		for _, c := range []struct {
			name string
			wait time.Duration
			set  time.Duration
			want int // questions so far
		}{
			{"the first", 0, 0, 1},
			{"a second later", time.Second, 0, 1},
			{"two minutes later", 2 * time.Minute, 0, 2},
			{"two hours ahead", 0, 2 * time.Hour, 3},
			{"right again", 2 * time.Minute, 0, 4},
		} {
			time.Sleep(c.wait)
			set = c.set
			if err := g.app.Sync(t.Context()); err != nil || asked() != c.want {
				t.Errorf("%s: Sync = %v after %d questions, want %d", c.name, err, asked(), c.want)
			}
			if ahead, _ := g.app.Ahead(); (ahead - c.set).Abs() > clockTolerance {
				t.Errorf("%s: Ahead = %v, want %v", c.name, ahead, c.set)
			}
		}
		time.Sleep(2 * time.Minute)
		g.Fail(fakegithub.To(http.MethodGet, "/rate_limit"), fakegithub.Status(502), -1)
		for range 3 {
			if err := g.app.Sync(t.Context()); err == nil {
				t.Error("Sync = nil while GitHub does not answer")
			}
		}
		if asked() != 5 {
			t.Errorf("GitHub was asked %d times, want 5", asked())
		}
	})
}

// A token that has expired by GitHub's own clock is useless, and no later step would
// revoke it. It is revoked at once.
func TestATokenThatHasEndedIsTakenBack(t *testing.T) {
	g := newGitHub(t)
	transport := g.app.Client.Transport
	g.app.Client = &http.Client{Transport: rewriting(func(r *http.Response) {
		r.Header.Set("Date", g.Now().Add(3*time.Hour).Format(http.TimeFormat))
	}, transport)}
	g.app.Signer = &counting{KeySigner: KeySigner{testKey}}
	_, err := g.app.Mint(t.Context(), g.grant())
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Skewed || !strings.Contains(err.Error(), "the new token expires at") || e.Unconfirmed != 0 {
		t.Errorf("Mint = %v, want that the token has ended", err)
	}
	if live := g.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive, want none", len(live))
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// rewriting changes answers.
func rewriting(change func(*http.Response), base http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		response, err := base.RoundTrip(r)
		if err == nil {
			change(response)
		}
		return response, err
	})
}

// The time on an error page of a proxy does not count, and a slow answer does not prove
// that a clock is wrong.
func TestDatesThatProveNothing(t *testing.T) {
	now := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	answer := func(status int, date time.Time) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{"Date": {date.Format(http.TimeFormat)}}}
	}
	var c githubClock
	c.update(answer(502, now.Add(time.Hour)), now, now)
	if _, heard := c.reading(); !heard.IsZero() {
		t.Error("the Date of a 502 counts")
	}
	c.update(answer(200, now.Add(25*time.Second)), now, now.Add(30*time.Second))
	if ahead, heard := c.reading(); ahead != 0 || heard.IsZero() {
		t.Errorf("after a slow answer the clock is %v ahead, want 0", ahead)
	}
}

// A program that reads its App again does not forget the clock and the pauses.
func TestInherit(t *testing.T) {
	g := newGitHub(t)
	g.off(2 * time.Hour)
	g.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.SecondaryRateLimited(-1), 1)
	if _, err := g.app.Mint(t.Context(), g.grant()); err == nil {
		t.Fatal("Mint = nil, want the rate limit")
	}
	next := &App{ID: g.app.ID, Signer: g.signer, URL: g.app.URL, Client: g.app.Client, Now: g.app.Now}
	next.Inherit(g.app)
	if ahead, ok := next.Ahead(); !ok || (ahead-2*time.Hour).Abs() > clockTolerance {
		t.Errorf("Ahead = %v, %v, want two hours", ahead, ok)
	}
	if _, err := next.Mint(context.WithoutCancel(t.Context()), g.grant()); err == nil {
		t.Error("Mint = nil, want it held back")
	}
	other := &App{URL: "https://ghe.test/api/v3"}
	other.Inherit(g.app)
	if _, ok := other.Ahead(); ok {
		t.Error("another GitHub's clock is inherited")
	}
}

// signatures counts what it signs.
type signatures int

func (c *signatures) Sign(context.Context, [sha256.Size]byte) ([]byte, error) {
	*c++
	return []byte("x"), nil
}

// A JWT is used until it expires, even if the machine was suspended or its clock was
// set meanwhile.
func TestAJWTEndsByEitherClock(t *testing.T) {
	begun := time.Now()
	for _, c := range []struct {
		name string
		now  time.Time
		want signatures
	}{
		{"at once", begun, 1},
		{"seven minutes later", begun.Add(7 * time.Minute), 1},
		{"eight minutes later", begun.Add(8 * time.Minute), 2},
		{"after two hours of sleep", clocktest.Slept(begun, 2*time.Hour), 2},
		{"set forward by an hour", clocktest.Slept(begun, time.Hour), 2},
		{"set back by an hour", clocktest.Slept(begun, -time.Hour), 1},
		{"set back by an hour, eight minutes later", clocktest.Slept(begun.Add(8*time.Minute), -time.Hour), 2},
	} {
		var p jwtCache
		var signed signatures
		for _, now := range []time.Time{begun, c.now} {
			if _, err := p.token(t.Context(), "app", &signed, now, 0); err != nil {
				t.Fatal(err)
			}
		}
		if signed != c.want {
			t.Errorf("%s: %d JWTs are signed, want %d", c.name, signed, c.want)
		}
	}
}
