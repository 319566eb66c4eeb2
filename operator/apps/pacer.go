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
	Ending  Class = iota // the object's token ends soon; the one that ends first goes first
	New                  // the object has no token yet
	Changed              // the object's token works, but must be replaced
)

// An Ask is one request for permission to mint.
type Ask struct {
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

	mu    sync.Mutex // guards lanes and their contents
	lanes map[Ref]*lane
}

// NewPacer returns a pacer that allows each App perMinute mints in any minute; 0 means
// no limit. The pacer calls wake when the turn of a queued key comes: the key must ask
// again within a few seconds, or the turn goes to another key. wake must not block.
func NewPacer(perMinute int, wake func(Key)) *Pacer {
	return &Pacer{perMinute: perMinute, wake: wake, lanes: map[Ref]*lane{}}
}

// Take reports whether the key may mint now, and if so uses the turn. Otherwise the key
// is queued until [Pacer.Forget], and wake is called when its turn comes. Asking again
// changes the class of a queued key but not its place.
func (p *Pacer) Take(a Ask) (ok bool) {
	p.with(a.App, func(l *lane, now time.Time) []Key {
		ok = l.take(a, now)
		return l.advance(now)
	})
	return ok
}

// Forget takes a key out of every queue.
func (p *Pacer) Forget(key Key) {
	for _, app := range p.apps() {
		p.with(app, func(l *lane, now time.Time) []Key {
			l.forget(key)
			return l.advance(now)
		})
	}
}

// Hold stops all mints of an App until the given time, because GitHub asked for a
// pause.
func (p *Pacer) Hold(app Ref, until time.Time) {
	p.with(app, func(l *lane, now time.Time) []Key {
		l.hold(until)
		return l.advance(now)
	})
}

// Learn reads how much of the App's hourly limit GitHub says is left. If little is
// left, only tokens that end soon are minted until the next hour begins.
func (p *Pacer) Learn(app *App) {
	rate, ok := app.Rate()
	if !ok {
		return
	}
	ahead, _ := app.Ahead()
	p.with(app.Pace, func(l *lane, now time.Time) []Key {
		l.short = time.Time{}
		if isShort(rate) {
			l.short = rate.Reset.Add(ahead)
		}
		return l.advance(now)
	})
}

// isShort reports whether less than a fifth of the limit is left.
func isShort(r mint.Rate) bool { return r.Remaining < r.Limit/5 }

// Waiting returns how many keys of an App are queued, and when the next of them may
// have its turn; zero if none is queued.
func (p *Pacer) Waiting(app Ref) (n int, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[app]
	if l == nil || len(l.queue) == 0 {
		return 0, time.Time{}
	}
	now := time.Now()
	return len(l.queue), now.Add(l.wait(now))
}

// longWait is the shortest wait that an object's status reports even though its token
// works.
const longWait = time.Minute

// Why returns the reason and the message of a condition for a queued key of an App.
// isLong reports whether the wait is a minute or more.
func (p *Pacer) Why(app Ref, class Class) (reason, message string, isLong bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, l := time.Now(), p.lanes[app]
	switch {
	case l != nil && l.held.After(now):
		return v1.ReasonRateLimited, "GitHub asks the App to wait until " + stamp(l.held), l.held.Sub(now) >= longWait
	case l != nil && class != Ending && l.short.After(now):
		return v1.ReasonRateLimited, "less than a fifth of the App's hourly limit at GitHub is left, which is for tokens that end soon; there is a new hour at " + stamp(l.short), l.short.Sub(now) >= longWait
	}
	message = "the App mints for others first"
	if p.perMinute > 0 {
		message = fmt.Sprintf("the App mints at most %d tokens a minute (--mints-per-minute), and what ends sooner goes first", p.perMinute)
	}
	return v1.ReasonProgressing, message, l != nil && l.limit > 0 && len(l.queue) >= l.limit
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// with calls do with the lane of an App, sets the lane's timer, and wakes the keys that
// do returns.
func (p *Pacer) with(app Ref, do func(*lane, time.Time) []Key) {
	p.mu.Lock()
	l := p.lanes[app]
	if l == nil {
		l = newLane(p.perMinute)
		l.timer = time.AfterFunc(time.Hour, func() { p.with(app, (*lane).advance) })
		p.lanes[app] = l
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
		delete(p.lanes, app)
	}
	p.mu.Unlock()
	for _, key := range woken {
		p.wake(key)
	}
}

func (p *Pacer) apps() []Ref {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.lanes))
}
