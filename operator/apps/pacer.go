package apps

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// A Key names a Token (with its namespace) or a ClusterToken.
type Key struct{ Kind, Namespace, Name string }

// A Class says how urgent a mint is.
type Class int

// The classes, most urgent first.
const (
	Expiring Class = iota // the object's token ends soon; the one that ends first goes first
	New                   // the object has no token yet
	Changed               // the object's token works, but must be replaced
)

// A Request is one request for permission to mint.
type Request struct {
	App   Ref // Pace of the App
	Key   Key
	Class Class
	Ends  time.Time // for Ending: when the token ends
}

// A Pacer decides when a token may be minted, so that GitHub never has to rate-limit an
// App. GitHub allows an App 900 points a minute, and a mint costs five
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits).
// Each App is paced on its own: an App that has to wait delays no other App.
type Pacer struct {
	perMinute int
	wake      func(Key)

	mu       sync.Mutex // guards limiters and their contents
	limiters map[Ref]*limiter
}

// NewPacer returns a pacer that allows each App perMinute mints in any minute; 0 means
// no limit. The pacer calls wake when it has reserved a slot for a queued key: the key must ask
// again within a few seconds, or the slot goes to another key. wake must not block.
func NewPacer(perMinute int, wake func(Key)) *Pacer {
	return &Pacer{perMinute: perMinute, wake: wake, limiters: map[Ref]*limiter{}}
}

// Acquire reports whether the key may mint now, and if so uses a slot. Otherwise the key
// is queued until [Pacer.Forget], and wake is called when it has a slot. Asking again
// changes the class of a queued key but not its place.
func (p *Pacer) Acquire(a Request) (ok bool) {
	p.with(a.App, func(l *limiter, now time.Time) []Key {
		ok = l.acquire(a, now)
		return l.advance(now)
	})
	return ok
}

// Forget takes a key out of every queue.
func (p *Pacer) Forget(key Key) {
	for _, app := range p.apps() {
		p.with(app, func(l *limiter, now time.Time) []Key {
			l.forget(key)
			return l.advance(now)
		})
	}
}

// Pause stops all mints of an App until the given time, because GitHub asked for a
// pause.
func (p *Pacer) Pause(app Ref, until time.Time) {
	p.with(app, func(l *limiter, now time.Time) []Key {
		l.pause(until)
		return l.advance(now)
	})
}

// UpdateRate reads how much of the App's hourly limit GitHub says is left. If little is
// left, only tokens that end soon are minted until the next hour begins.
func (p *Pacer) UpdateRate(app *App) {
	rate, ok := app.Rate()
	if !ok {
		return
	}
	ahead, _ := app.Ahead()
	p.with(app.Pace, func(l *limiter, now time.Time) []Key {
		l.lowUntil = time.Time{}
		if isLow(rate) {
			l.lowUntil = rate.Reset.Add(ahead)
		}
		return l.advance(now)
	})
}

// isLow reports whether less than a fifth of the limit is left.
func isLow(r mint.Rate) bool { return r.Remaining < r.Limit/5 }

// Waiting returns how many keys of an App are queued, and when the next of them may
// mint; zero if none is queued.
func (p *Pacer) Waiting(app Ref) (n int, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.limiters[app]
	if l == nil || len(l.queue) == 0 {
		return 0, time.Time{}
	}
	now := time.Now()
	return len(l.queue), now.Add(l.wait(now))
}

// longWait is the shortest wait that an object's status reports even though its token
// works.
const longWait = time.Minute

// WaitReason returns the reason and the message of a condition for a queued key of an App.
// isLong reports whether the wait is a minute or more.
func (p *Pacer) WaitReason(app Ref, class Class) (reason, message string, isLong bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, l := time.Now(), p.limiters[app]
	switch {
	case l != nil && l.pausedUntil.After(now):
		return v1.ReasonRateLimited, "GitHub asks the App to wait until " + stamp(l.pausedUntil), l.pausedUntil.Sub(now) >= longWait
	case l != nil && class != Expiring && l.lowUntil.After(now):
		return v1.ReasonRateLimited, "less than a fifth of the App's hourly limit at GitHub is left, and it is reserved for tokens that expire soon; the next hour begins at " + stamp(l.lowUntil), l.lowUntil.Sub(now) >= longWait
	}
	message = "the App mints other tokens first"
	if p.perMinute > 0 {
		message = fmt.Sprintf("the App mints at most %d tokens a minute (--mints-per-minute), those that expire first first", p.perMinute)
	}
	return v1.ReasonProgressing, message, l != nil && l.limit > 0 && len(l.queue) >= l.limit
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// with calls do with the limiter of an App, sets its timer, and wakes the keys that
// do returns.
func (p *Pacer) with(app Ref, do func(*limiter, time.Time) []Key) {
	p.mu.Lock()
	l := p.limiters[app]
	if l == nil {
		l = newLimiter(p.perMinute)
		l.timer = time.AfterFunc(time.Hour, func() { p.with(app, (*limiter).advance) })
		p.limiters[app] = l
	}
	now := time.Now()
	woken := do(l, now)
	if next, isNeeded := l.next(now); isNeeded {
		l.timer.Reset(next)
	} else {
		l.timer.Stop()
	}
	if l.isIdle(now) {
		l.timer.Stop()
		delete(p.limiters, app)
	}
	p.mu.Unlock()
	for _, key := range woken {
		p.wake(key)
	}
}

func (p *Pacer) apps() []Ref {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.limiters))
}
