package mint

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	minLimit     = 5000             // requests an hour that GitHub allows every App
	reserveShare = 5                // Turn avoids an App with less than a fifth of its requests left
	refusedFor   = time.Minute      // how long an App that GitHub refused is skipped
	grantedFor   = 10 * time.Minute // how long an installation's permissions are cached
)

// A Candidate is an App that may mint, with one of its installations.
type Candidate struct {
	App          *App
	Installation int64  // 0 if not known yet
	Name         string // of the App, for [Pool.ChooseByKey]; it distinguishes Apps, including those that cannot be opened
}

// A Pool distributes mints among several Apps of one GitHub. It counts running mints,
// so that parallel mints do not use more requests than an App has left. The zero Pool
// is ready for concurrent use.
type Pool struct {
	mu       sync.Mutex // guards the rest
	underway map[Candidate]int
	refused  map[*App]skipped
	granted  map[Candidate]*granted
}

// skipped is why an App is skipped for a while.
type skipped struct {
	why   error
	until time.Time // by this machine's clock
}

// Choose returns the seat with the largest part of its requests left; among equals, the
// first. Without an answer from GitHub yet, all requests count as left. It skips Apps
// that GitHub refused a moment ago or asks to wait. The caller must mint, and then call
// done with the error of that mint. If no seat is usable, it returns the error of the
// first one.
func (p *Pool) Choose(seats ...Candidate) (best Candidate, done func(error), err error) {
	return p.choose(seats, func(usable []Candidate) Candidate { return p.mostLeft(usable) })
}

// ChooseByKey is like Choose, for a caller that does not record which App it used: of the
// seats with a fifth of their requests left, it returns one that depends only on the
// key and the Apps' names, so that all replicas choose the same one.
func (p *Pool) ChooseByKey(key string, seats ...Candidate) (best Candidate, done func(error), err error) {
	return p.choose(seats, func(usable []Candidate) Candidate { return p.byKey(key, usable) })
}

// Preferred is like Turn, for a caller that does not mint. ok is false if no seat is
// usable.
func (p *Pool) Preferred(key string, seats ...Candidate) (best Candidate, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	usable, _ := p.usable(seats)
	if len(usable) == 0 {
		return Candidate{}, false
	}
	return p.byKey(key, usable), true
}

// byKey returns the seat for key. The caller holds mu.
func (p *Pool) byKey(key string, usable []Candidate) Candidate {
	ample := slices.DeleteFunc(slices.Clone(usable), func(s Candidate) bool {
		left, limit := p.left(s)
		return left*reserveShare < limit
	})
	if len(ample) == 0 {
		return p.mostLeft(usable)
	}
	return FirstByKey(key, ample...)
}

// FirstByKey returns the seat that Turn returns for a key if every App has enough
// requests left. seats must not be empty.
func FirstByKey(key string, seats ...Candidate) Candidate {
	return slices.MaxFunc(seats, func(a, b Candidate) int { return bytes.Compare(weight(key, a), weight(key, b)) })
}

// weight returns the weight of a seat for a key (rendezvous hashing): when an App is
// added or removed, the keys of the other Apps keep theirs.
func weight(key string, s Candidate) []byte {
	text := binary.AppendUvarint(nil, uint64(len(key)))
	sum := sha256.Sum256(append(append(text, key...), s.Name...))
	return sum[:]
}

func (p *Pool) choose(seats []Candidate, pick func(usable []Candidate) Candidate) (Candidate, func(error), error) {
	if len(seats) == 0 {
		return Candidate{}, nil, &Error{Kind: NotInstalled, Op: "choose an App", Err: errors.New("no App of the pool is installed there")}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	usable, first := p.usable(seats)
	if len(usable) == 0 {
		return Candidate{}, nil, first
	}
	best := pick(usable)
	if p.underway == nil {
		p.underway = map[Candidate]int{}
	}
	p.underway[best]++
	return best, p.doneOnce(best), nil
}

// usable returns the seats that can mint now, and why the first of the others cannot.
// The caller holds mu.
func (p *Pool) usable(seats []Candidate) (usable []Candidate, first error) {
	for _, s := range seats {
		err := p.unusable(s)
		if err == nil {
			usable = append(usable, s)
		} else if first == nil {
			first = err
		}
	}
	return usable, first
}

// doneOnce returns the done function for the caller of Choose; only its first call counts.
func (p *Pool) doneOnce(s Candidate) func(error) {
	var once sync.Once
	return func(err error) { once.Do(func() { p.done(s, err) }) }
}

// unusable returns why a seat cannot mint now, or nil. The caller holds mu.
func (p *Pool) unusable(s Candidate) error {
	if was := p.refused[s.App]; s.App.now().Before(was.until) {
		return was.why
	}
	if limit := s.App.Paused(); limit != nil && limit.RetryAfter > maxWait {
		return limit
	}
	if left, _ := p.left(s); left > 0 {
		return nil
	}
	e := &Error{Kind: RateLimited, Op: "mint a token", Message: "the App has used all requests that GitHub allows it for now"}
	if r, ok := s.App.RateOf(s.Installation); ok {
		e.RetryAfter = max(r.Reset.Sub(s.App.Time()), time.Second)
	}
	return e
}

// mostLeft returns the seat with the largest part of its requests left. The caller holds
// mu.
func (p *Pool) mostLeft(seats []Candidate) Candidate {
	return slices.MaxFunc(seats, func(a, b Candidate) int {
		left, limit := p.left(a)
		otherLeft, otherLimit := p.left(b)
		return cmp.Compare(left*otherLimit, otherLeft*limit)
	})
}

// left returns how many requests a seat has left, and of how many, not counting running
// mints. An App that must wait for some seconds has at most one left. The caller holds
// mu.
func (p *Pool) left(s Candidate) (left, limit int) {
	r, ok := s.App.RateOf(s.Installation)
	if !ok {
		r = Rate{Limit: minLimit}
	}
	left, limit = r.Remaining, r.Limit
	if !s.App.Time().Before(r.Reset) {
		left = limit
	}
	left -= p.underway[s]
	if s.App.Paused() != nil {
		left = min(left, 1)
	}
	return left, limit
}

// done records the outcome of a mint.
func (p *Pool) done(s Candidate, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.underway[s]--; p.underway[s] <= 0 {
		delete(p.underway, s)
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return
	}
	if slices.Contains([]Kind{Suspended, NotInstalled, NotGranted}, e.Kind) {
		delete(p.granted, s) // GitHub's answer contradicts the cached one
	}
	if e.Kind != BadKey && e.Kind != Unsigned {
		return
	}
	if p.refused == nil {
		p.refused = map[*App]skipped{}
	}
	now := s.App.now()
	for app, was := range p.refused {
		if !now.Before(was.until) {
			delete(p.refused, app)
		}
	}
	p.refused[s.App] = skipped{err, now.Add(refusedFor)}
}

// IsAppSpecific reports whether an error is about one App, so that another App may be
// able to mint.
func IsAppSpecific(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && slices.Contains([]Kind{BadKey, Unsigned, Suspended, NotInstalled, NotGranted, NotListed, RateLimited}, e.Kind)
}

// granted is GitHub's answer about an installation.
type granted struct {
	mu           sync.Mutex // guards the rest; held during a request, so that one request serves all
	installation Installation
	err          error
	askedAt      time.Time // zero if no answer is cached
}

// Check returns an [*Error] if a seat's installation does not exist, is suspended, or
// was not granted what is needed. An answer is cached for ten minutes, and one that
// stops the App from minting for one minute.
func (p *Pool) Check(ctx context.Context, s Candidate, needed map[string]string) error {
	if err := p.refusedError(s.App); err != nil {
		return err
	}
	g := p.installation(s)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := s.App.now()
	if age := now.Sub(g.askedAt); age < refusedFor || age < grantedFor && g.check(needed) == nil {
		return g.check(needed)
	}
	g.installation, g.err = s.App.Installation(ctx, s.Installation)
	g.askedAt = now
	if g.err != nil && !IsAppSpecific(g.err) {
		g.askedAt = time.Time{}
	}
	return g.check(needed)
}

func (g *granted) check(needed map[string]string) error {
	if g.err != nil {
		return g.err
	}
	return CheckInstallation(g.installation, needed)
}

// refusedError returns why an App is skipped for a while; nil if it is not.
func (p *Pool) refusedError(a *App) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was := p.refused[a]; a.now().Before(was.until) {
		return was.why
	}
	return nil
}

func (p *Pool) installation(s Candidate) *granted {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.granted == nil {
		p.granted = map[Candidate]*granted{}
	}
	if p.granted[s] == nil {
		p.granted[s] = new(granted)
	}
	return p.granted[s]
}

// CheckInstallation returns an [*Error] if an installation is suspended, or was not granted what is
// needed.
func CheckInstallation(i Installation, needed map[string]string) error {
	doing := fmt.Sprintf("use installation %d on %s", i.ID, i.Account.Login)
	if i.Suspended() {
		return &Error{Kind: Suspended, Op: doing, Message: "it has been suspended since " + i.SuspendedAt.UTC().Format(time.DateOnly)}
	}
	if lacking := Lacking(needed, i.Permissions); len(lacking) > 0 {
		return &Error{Kind: NotGranted, Op: doing, Message: "it lacks " + LevelsText(lacking)}
	}
	return nil
}

// A Rate is the state of the App's hourly limit of requests, according to GitHub's
// latest answer
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
type Rate struct {
	Limit, Remaining int
	Reset            time.Time // when Remaining returns to Limit; by GitHub's clock
}

// rate records the latest answer, and the answer to the latest mint of each
// installation.
type rate struct {
	mu    sync.Mutex // guards the rest
	known Rate
	of    map[int64]Rate // by installation
}

// Rate returns the requests left. ok is false before GitHub's first answer. Requests
// with tokens have separate limits and do not count.
func (a *App) Rate() (r Rate, ok bool) {
	a.state.rate.mu.Lock()
	defer a.state.rate.mu.Unlock()
	return a.state.rate.known, a.state.rate.known.Limit > 0
}

// RateOf returns the requests left for mints of one installation, according to the
// answer to its latest mint; before the first mint, it is that of [App.Rate]. GitHub
// does not say whether mints count for the App or for the installation: two readings of
// one window count as the same limit, and the lower one is returned.
func (a *App) RateOf(installation int64) (r Rate, ok bool) {
	a.state.rate.mu.Lock()
	defer a.state.rate.mu.Unlock()
	r, all := a.state.rate.of[installation], a.state.rate.known
	if r.Limit == 0 || all.Reset.Equal(r.Reset) && all.Remaining < r.Remaining {
		r = all
	}
	return r, r.Limit > 0
}

// update reads the headers of an answer to the App itself. Answers may arrive out of
// order: within one window, the lower count is the later one.
func (r *rate) update(c call, h http.Header) {
	limit, err := strconv.Atoi(h.Get("X-RateLimit-Limit"))
	left, leftErr := strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	reset, resetErr := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if c.token != "" || c.open || err != nil || leftErr != nil || resetErr != nil || limit <= 0 || left < 0 {
		return
	}
	said := Rate{limit, left, time.Unix(reset, 0)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = said.later(r.known)
	if c.installation == 0 {
		return
	}
	if r.of == nil {
		r.of = map[int64]Rate{}
	}
	r.of[c.installation] = said.later(r.of[c.installation])
}

// later returns the later of two readings.
func (r Rate) later(before Rate) Rate {
	if r.Reset.After(before.Reset) || r.Reset.Equal(before.Reset) && r.Remaining < before.Remaining {
		return r
	}
	return before
}
