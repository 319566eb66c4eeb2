package mint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/redact"
)

const (
	// DefaultURL is the REST API of github.com.
	DefaultURL = "https://api.github.com"

	// DefaultGitHub is the address of github.com for people.
	DefaultGitHub = "https://github.com"

	apiVersion  = "2022-11-28"
	userAgent   = "gatepass"
	callTimeout = 30 * time.Second // of one request
)

// An App calls GitHub as one GitHub App. ID and Signer must be set.
type App struct {
	ID     string       // client ID (recommended) or App ID
	Signer Signer       // the App's key
	URL    string       // of the REST API, from APIURL; empty means DefaultURL
	Client *http.Client // nil means a default client; its redirects are not followed

	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// Once limits each call to one attempt, for a caller with its own queue: instead of
	// waiting, the call returns an [*Error] at once, with RetryAfter if GitHub said how
	// long to wait. A JWT that GitHub refused for its time is still signed anew and
	// sent once more. See [App.RevokeUnused] for tokens that are not wanted.
	Once bool

	state   state
	revoked revokedTokens
	pending pendingRevokes
}

// defaultClient is not http.DefaultClient, which has no timeout and is shared by the
// whole program.
var defaultClient = &http.Client{Timeout: callTimeout, CheckRedirect: refuseRedirect}

// refuseRedirect keeps JWTs and tokens at the host for which they were made. GitHub
// redirects renamed repositories; here the id identifies a repository.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (a *App) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

// APIURL returns the REST API for a GitHub's address for people: github.com, a data
// residency host (https://SUB.ghe.com), or an Enterprise Server (https://HOST/api/v3).
// For the address of the API itself, the error says what to write instead.
func APIURL(github string) (string, error) {
	u, err := url.Parse(github)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("want https://HOST, as in https://github.com")
	}
	host, path := strings.ToLower(u.Host), strings.Trim(u.Path, "/")
	if web := webHost(host, path); web != "" {
		return "", fmt.Errorf("%s is the API's address; write https://%s", redact.Text(github, maxShown), web)
	}
	if path != "" {
		return "", errors.New("want https://HOST without a path, as in https://github.com")
	}
	switch {
	case host == "github.com" || host == "www.github.com":
		return DefaultURL, nil
	case strings.HasSuffix(host, ".ghe.com"):
		return "https://api." + host, nil
	}
	return "https://" + host + "/api/v3", nil
}

// webHost returns the host of a GitHub's web pages for an API's address; "" if there is
// none.
func webHost(host, path string) string {
	sub, isSub := strings.CutPrefix(host, "api.")
	switch {
	case isSub && (sub == "github.com" || strings.HasSuffix(sub, ".ghe.com")):
		return sub
	case path == "api/v3" || path == "api" || path == "api/graphql":
		return host
	}
	return ""
}

// A Registration is GitHub's data about the App.
type Registration struct {
	ID            int64             `json:"id"`
	ClientID      string            `json:"client_id"`
	Slug          string            `json:"slug"` // its bot is SLUG[bot]
	Name          string            `json:"name"`
	Owner         Account           `json:"owner"`
	HTMLURL       string            `json:"html_url"` // its public page
	Permissions   map[string]string `json:"permissions"`
	CreatedAt     time.Time         `json:"created_at"`
	Installations int               `json:"installations_count"`
}

// Self returns the App that GitHub has under the App's ID. An answer proves that the
// signer's key belongs to that App. An [*Error] of kind [BadKey] means that it does not
// or, with status 404, that there is no such App.
func (a *App) Self(ctx context.Context) (Registration, error) {
	const doing = "ask GitHub which App this is"
	got, err := a.rest().do(ctx, read(doing, "/app"))
	if err != nil {
		return Registration{}, err
	}
	var self Registration
	if err := decode(doing, got.body, &self); err != nil {
		return Registration{}, err
	}
	if self.ID <= 0 || a.ID != self.ClientID && a.ID != strconv.FormatInt(self.ID, 10) {
		return Registration{}, &Error{Kind: Unavailable, Op: doing, Err: errors.New("the answer is not about this App")}
	}
	return self, nil
}

// IsPublic reports whether accounts other than its owner may install the App. GitHub
// does not say so, but it shows a public App to everyone, so IsPublic asks once without
// the App's key. An error leaves the question open: an Enterprise Server may show
// nothing to anonymous requests, and their number per hour is small.
func (a *App) IsPublic(ctx context.Context, self Registration) (bool, error) {
	const doing = "ask GitHub whether the App is public"
	got, err := a.rest().attempt(ctx, anonymous(doing, "/apps/"+url.PathEscape(self.Slug)))
	failure, ok := errors.AsType[*Error](err)
	isKnownOwner := self.Owner.Type == "Organization" || self.Owner.Type == "User" // an enterprise's App is shown only within the enterprise
	if ok && failure.Status == http.StatusNotFound && isKnownOwner {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var shown Registration
	if err := decode(doing, got.body, &shown); err != nil {
		return false, err
	}
	if shown.ID != self.ID {
		return false, &Error{Kind: Unavailable, Op: doing, Err: errors.New("the answer is not about this App")}
	}
	return true, nil
}

// Reach returns an error of kind [Unavailable] if GitHub's API does not answer, for
// example because the network or its certificate is wrong. Every answer counts as
// success: an Enterprise Server may refuse anonymous requests. The request does not
// count against a rate limit, and needs neither ID nor Signer of a.
func (a *App) Reach(ctx context.Context) error {
	rest := a.rest()
	_, err := rest.attempt(ctx, anonymous("reach GitHub's API at "+rest.base, "/rate_limit"))
	if e, ok := errors.AsType[*Error](err); ok && e.Status != 0 && e.Kind != Unavailable {
		return nil
	}
	return err
}

const (
	// clockTolerance is a clock difference that is not corrected: a Date header has
	// whole seconds, and an answer takes a while.
	clockTolerance = 5 * time.Second
	// ClockWarning is the clock difference from which there is a warning.
	ClockWarning = 30 * time.Second

	syncEvery   = time.Minute      // how long a reading is used without another one
	syncAgain   = 30 * time.Second // after an attempt without an answer
	syncTimeout = 5 * time.Second  // for an answer
)

// A githubClock measures how far this machine's clock is ahead of GitHub's, by the Date
// headers of GitHub's answers. All times that GitHub states (a token's expiry, a rate
// limit's reset) are read by it, since a wrong clock would lose live tokens.
type githubClock struct {
	mu     sync.Mutex // guards the rest
	ahead  time.Duration
	readAt time.Time // the latest reading, by this machine's clock; zero for none

	syncing sync.Mutex // held during a request for the time, so that one request serves all
	triedAt time.Time  // guarded by syncing
}

// update reads the time in an answer. sent and arrived are the times of the request and
// the answer by this machine's clock. It ignores server errors, which may come from a
// proxy.
func (g *githubClock) update(r *http.Response, sent, arrived time.Time) {
	theirs, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil || r.StatusCode >= http.StatusInternalServerError {
		return
	}
	least, most := sent.Round(0).Sub(theirs)-time.Second, arrived.Round(0).Sub(theirs)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.readAt = arrived
	if g.ahead < least-clockTolerance || g.ahead > most+clockTolerance {
		g.ahead = ((least + most) / 2).Round(time.Second)
	}
	if g.ahead.Abs() < clockTolerance {
		g.ahead = 0
	}
}

func (g *githubClock) reading() (ahead time.Duration, heard time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ahead, g.readAt
}

// isStale reports whether the reading is old, or the clock was set since.
func (g *githubClock) isStale(now time.Time) bool {
	_, heard := g.reading()
	wasSet := now.Sub(heard) - now.Round(0).Sub(heard.Round(0))
	since := clock.Since(heard, now)
	return heard.IsZero() || since < 0 || since > syncEvery || wasSet.Abs() > clockTolerance
}

// Time returns the time by GitHub's clock, or by this machine's clock before GitHub's
// first answer.
func (a *App) Time() time.Time {
	return a.rest().time()
}

// Ahead returns how far this machine's clock is ahead of GitHub's; a negative value is
// behind. ok is false before GitHub's first answer.
func (a *App) Ahead() (ahead time.Duration, ok bool) {
	ahead, heard := a.state.clock.reading()
	return ahead, !heard.IsZero()
}

// ClockProblem returns a message if this machine's clock is off by [ClockWarning] or
// more, rounded to ten seconds, and "" otherwise.
func (a *App) ClockProblem() string {
	ahead, _ := a.Ahead()
	size := ahead.Abs().Round(10 * time.Second)
	switch {
	case ahead >= ClockWarning:
		return fmt.Sprintf("this machine's clock is %s ahead of GitHub's; set it: timedatectl", size)
	case ahead <= -ClockWarning:
		return fmt.Sprintf("this machine's clock is %s behind GitHub's; set it: timedatectl", size)
	}
	return ""
}

// Sync asks GitHub for the time, unless an answer stated it within the last minute. It
// returns an error if the time is not known after at most five seconds. The request
// does not count against a rate limit, and needs neither ID nor Signer of a.
func (a *App) Sync(ctx context.Context) error {
	if !a.state.clock.isStale(a.now()) {
		return nil
	}
	a.state.clock.syncing.Lock()
	defer a.state.clock.syncing.Unlock()
	if !a.state.clock.isStale(a.now()) {
		return nil
	}
	const doing = "ask GitHub for the time"
	if tried := a.state.clock.triedAt; !tried.IsZero() && clock.Since(tried, a.now()) < syncAgain {
		return &Error{Kind: Unavailable, Op: doing, Message: "it did not answer a moment ago"}
	}
	if held := a.state.gate.blocked(call{doing: doing, open: true}, a.now()); held != nil {
		return held
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	err := a.Reach(ctx)
	if !a.state.clock.isStale(a.now()) {
		return nil
	}
	a.state.clock.triedAt = a.now()
	if err == nil {
		err = &Error{Kind: Unavailable, Op: doing, Message: "the answer has no Date"}
	}
	return err
}

// Inherit copies what another App learned about the same GitHub: the clock, the pauses
// that GitHub asked for, and the tokens that are still to be revoked. It is for a program that
// reloads its App; call it before using a.
func (a *App) Inherit(old *App) {
	if old == nil || old == a || old.rest().base != a.rest().base {
		return
	}
	a.pending.add(old.pending.take()...)
	a.state.clock.ahead, a.state.clock.readAt = old.state.clock.reading()
	if old.ID == a.ID {
		to, from := &a.state.gate, &old.state.gate
		from.mu.Lock()
		defer from.mu.Unlock()
		to.all, to.jwt, to.strikes = from.all, from.jwt, from.strikes
	}
}
