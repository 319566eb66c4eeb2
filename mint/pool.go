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
	leastLimit = 5000             // requests an hour that GitHub leaves any App
	scarcePart = 5                // an App with less than a fifth left is not chosen for its turn
	believeFor = time.Minute      // how long an App that GitHub refused is passed over
	grantedFor = 10 * time.Minute // how long an installation's permissions are believed
)

// A Seat is an App that may mint, by one of its installations.
type Seat struct {
	App          *App
	Installation int64  // 0 where it is not known yet
	Name         string // of the App, for [Pool.Turn]; it tells Apps apart, also those that cannot be opened
}

// A Pool shares mints out among several Apps of one GitHub. It counts what is under way,
// so that mints at one time do not use up more than an App has left. The zero Pool is
// ready to use, concurrently too.
type Pool struct {
	mu       sync.Mutex // guards the rest
	underway map[Seat]int
	refused  map[*App]refusedApp
	granted  map[Seat]*granted
}

// refusedApp is why an App is passed over for a while.
type refusedApp struct {
	why   error
	until time.Time // by this machine's clock
}

// Choose returns the seat that has the largest part of its requests left; of equals, the
// first. What GitHub has not said yet counts as everything. Apps that GitHub refused a moment ago, or asks
// to wait, are passed over. The caller mints, and then calls done with what came of it.
// Where no seat is left the error is that of the first one.
func (p *Pool) Choose(seats ...Seat) (best Seat, done func(error), err error) {
	return p.choose(seats, func(usable []Seat) Seat { return p.fullest(usable) })
}

// Turn is Choose for a caller that keeps no record of which App it had: of the seats that
// have a fifth of their requests left it returns one that depends on the key and the
// Apps' names alone, so that all replicas choose the same one.
func (p *Pool) Turn(key string, seats ...Seat) (best Seat, done func(error), err error) {
	return p.choose(seats, func(usable []Seat) Seat { return p.turnOf(key, usable) })
}

// Whose is Turn for a caller that does not mint. ok is false where no seat is left.
func (p *Pool) Whose(key string, seats ...Seat) (best Seat, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	usable, _ := p.usable(seats)
	if len(usable) == 0 {
		return Seat{}, false
	}
	return p.turnOf(key, usable), true
}

// turnOf returns whose turn it is. The caller holds mu.
func (p *Pool) turnOf(key string, usable []Seat) Seat {
	ample := slices.DeleteFunc(slices.Clone(usable), func(s Seat) bool {
		left, limit := p.left(s)
		return left*scarcePart < limit
	})
	if len(ample) == 0 {
		return p.fullest(usable)
	}
	return FirstTurn(key, ample...)
}

// FirstTurn returns the seat whose turn it is for a key where every App has enough left:
// that of Turn. At least one seat is given.
func FirstTurn(key string, seats ...Seat) Seat {
	return slices.MaxFunc(seats, func(a, b Seat) int { return bytes.Compare(turn(key, a), turn(key, b)) })
}

// turn is a number that tells Apps apart for a key (rendezvous hashing): where an App
// joins or leaves, keys of other Apps keep theirs.
func turn(key string, s Seat) []byte {
	text := binary.AppendUvarint(nil, uint64(len(key)))
	sum := sha256.Sum256(append(append(text, key...), s.Name...))
	return sum[:]
}

func (p *Pool) choose(seats []Seat, pick func(usable []Seat) Seat) (Seat, func(error), error) {
	if len(seats) == 0 {
		return Seat{}, nil, &Error{Kind: NotInstalled, Doing: "choose an App", Err: errors.New("none of the Apps is installed there")}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	usable, first := p.usable(seats)
	if len(usable) == 0 {
		return Seat{}, nil, first
	}
	best := pick(usable)
	if p.underway == nil {
		p.underway = map[Seat]int{}
	}
	p.underway[best]++
	return best, p.once(best), nil
}

// usable are the seats that can mint now, and why the first of the others cannot. The
// caller holds mu.
func (p *Pool) usable(seats []Seat) (usable []Seat, first error) {
	for _, s := range seats {
		err := p.closed(s)
		if err == nil {
			usable = append(usable, s)
		} else if first == nil {
			first = err
		}
	}
	return usable, first
}

// once returns what the caller of Choose calls; only the first call counts.
func (p *Pool) once(s Seat) func(error) {
	var once sync.Once
	return func(err error) { once.Do(func() { p.done(s, err) }) }
}

// closed returns why a seat cannot mint now. The caller holds mu.
func (p *Pool) closed(s Seat) error {
	if was := p.refused[s.App]; s.App.now().Before(was.until) {
		return was.why
	}
	if limit := s.App.Paused(); limit != nil && limit.RetryAfter > maxWait {
		return limit
	}
	if left, _ := p.left(s); left > 0 {
		return nil
	}
	e := &Error{Kind: RateLimited, Doing: "mint a token", Message: "the requests that GitHub leaves the App are used up or under way"}
	if r, ok := s.App.RateOf(s.Installation); ok {
		e.RetryAfter = max(r.Reset.Sub(s.App.Time()), time.Second)
	}
	return e
}

// fullest returns the seat with the largest part left. The caller holds mu.
func (p *Pool) fullest(seats []Seat) Seat {
	return slices.MaxFunc(seats, func(a, b Seat) int {
		left, limit := p.left(a)
		otherLeft, otherLimit := p.left(b)
		return cmp.Compare(left*otherLimit, otherLeft*limit)
	})
}

// left is how many requests a seat has left of how many, without those under way. Of an
// App that has to wait for some seconds it is one. The caller holds mu.
func (p *Pool) left(s Seat) (left, limit int) {
	r, ok := s.App.RateOf(s.Installation)
	if !ok {
		r = Rate{Limit: leastLimit}
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

// done takes note of what came of a mint.
func (p *Pool) done(s Seat, err error) {
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
		delete(p.granted, s) // GitHub says something else than was believed
	}
	if e.Kind != BadKey && e.Kind != Unsigned {
		return
	}
	if p.refused == nil {
		p.refused = map[*App]refusedApp{}
	}
	now := s.App.now()
	for app, was := range p.refused {
		if !now.Before(was.until) {
			delete(p.refused, app)
		}
	}
	p.refused[s.App] = refusedApp{err, now.Add(believeFor)}
}

// IsPassedOver reports whether an error says that one App cannot mint what another may.
func IsPassedOver(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && slices.Contains([]Kind{BadKey, Unsigned, Suspended, NotInstalled, NotGranted, NotListed, RateLimited}, e.Kind)
}

// granted is what GitHub said of an installation.
type granted struct {
	mu    sync.Mutex // guards the rest; held while GitHub is asked, so that one asks for all
	is    Installation
	err   error
	asked time.Time // zero where no answer is believed
}

// Check returns an [*Error] where a seat's installation is gone, suspended, or was not
// granted what is needed. An answer is believed for ten minutes, and one that keeps the
// App from minting for one.
func (p *Pool) Check(ctx context.Context, s Seat, needed map[string]string) error {
	if err := p.refusal(s.App); err != nil {
		return err
	}
	g := p.seat(s)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := s.App.now()
	if age := now.Sub(g.asked); age < believeFor || age < grantedFor && g.fits(needed) == nil {
		return g.fits(needed)
	}
	g.is, g.err = s.App.Installation(ctx, s.Installation)
	g.asked = now
	if g.err != nil && !IsPassedOver(g.err) {
		g.asked = time.Time{}
	}
	return g.fits(needed)
}

func (g *granted) fits(needed map[string]string) error {
	if g.err != nil {
		return g.err
	}
	return Fits(g.is, needed)
}

// refusal is why an App is passed over for a while; nil where it is not.
func (p *Pool) refusal(a *App) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was := p.refused[a]; a.now().Before(was.until) {
		return was.why
	}
	return nil
}

func (p *Pool) seat(s Seat) *granted {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.granted == nil {
		p.granted = map[Seat]*granted{}
	}
	if p.granted[s] == nil {
		p.granted[s] = new(granted)
	}
	return p.granted[s]
}

// Fits returns an [*Error] where an installation is suspended, or was not granted what is
// needed.
func Fits(i Installation, needed map[string]string) error {
	doing := fmt.Sprintf("use installation %d on %s", i.ID, i.Account.Login)
	if i.Suspended() {
		return &Error{Kind: Suspended, Doing: doing, Message: "it has been suspended since " + i.SuspendedAt.UTC().Format(time.DateOnly)}
	}
	if lacking := Lacking(needed, i.Permissions); len(lacking) > 0 {
		return &Error{Kind: NotGranted, Doing: doing, Message: "it was not granted " + LevelsText(lacking)}
	}
	return nil
}

// A Rate is what GitHub leaves the App of its hourly limit of requests, as the
// latest answer said
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
type Rate struct {
	Limit, Remaining int
	Reset            time.Time // when Remaining is Limit again; by GitHub's clock
}

// rate remembers the latest answer, and that to the latest mint of each installation.
type rate struct {
	mu    sync.Mutex // guards the rest
	known Rate
	of    map[int64]Rate // by installation
}

// Rate returns what is left. ok is false before GitHub has said so. Requests of
// tokens have limits of their own and do not count.
func (a *App) Rate() (r Rate, ok bool) {
	a.rate.mu.Lock()
	defer a.rate.mu.Unlock()
	return a.rate.known, a.rate.known.Limit > 0
}

// RateOf returns what is left for mints of one installation, as the answer to the latest
// one said, and before the first what [App.Rate] does. GitHub does not say whether mints
// count for the App or for the installation: readings of one window are taken for one
// count, and of these the lower holds.
func (a *App) RateOf(installation int64) (r Rate, ok bool) {
	a.rate.mu.Lock()
	defer a.rate.mu.Unlock()
	r, all := a.rate.of[installation], a.rate.known
	if r.Limit == 0 || all.Reset.Equal(r.Reset) && all.Remaining < r.Remaining {
		r = all
	}
	return r, r.Limit > 0
}

// note reads the headers of an answer to the App itself. Answers may overtake
// each other: within one window the lower count is the later one.
func (r *rate) note(c call, h http.Header) {
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
