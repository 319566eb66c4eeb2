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

// The classes, the most urgent first.
const (
	Ending  Class = iota // the object's token ends; what ends soonest goes first
	New                  // the object has no token yet
	Changed              // the object's token is good, and is to be another one
)

// An Ask is one wish to mint.
type Ask struct {
	App   Ref // Pace of the App
	Key   Key
	Class Class
	Ends  time.Time // of Ending: when the token ends
}

// A Pacer decides when a token may be minted, so that GitHub never has to refuse an
// App for being too fast: GitHub allows an App 900 points a minute, and a mint has five
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits).
// Each App is paced apart: one that has to wait holds no other.
type Pacer struct {
	perMinute int
	wake      func(Key)

	mu    sync.Mutex // guards lanes, and all that is in them
	lanes map[Ref]*lane
}

// NewPacer returns a pacer that allows each App so many mints in any minute; 0 is no
// limit. wake is called when the turn of a queued key comes: the key is to ask again
// within a few seconds, or the turn goes to another one. It must not block.
func NewPacer(perMinute int, wake func(Key)) *Pacer {
	return &Pacer{perMinute: perMinute, wake: wake, lanes: map[Ref]*lane{}}
}

// Take reports whether the key may mint now, which uses the turn. Otherwise it is
// queued until [Pacer.Forget] and wake is called for it. Asking again changes the class
// of a queued key and not its turn.
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

// Hold lets an App mint nothing until then: GitHub asked for a pause.
func (p *Pacer) Hold(app Ref, until time.Time) {
	p.with(app, func(l *lane, now time.Time) []Key {
		l.hold(until)
		return l.advance(now)
	})
}

// Learn reads what GitHub leaves the App of its hourly limit. Where that is short, only
// tokens that end are minted until there is a new hour.
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

// Waiting returns how many keys of an App are queued, and when the next one of them may
// have its turn; zero where none is queued.
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

// longWait is a wait that an object's status tells of although its token works.
const longWait = time.Minute

// Why says what a queued key of an App waits for: the reason of a condition and its
// message. isLong is true where it takes a minute or more.
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

// with does something to the lane of an App, sets its timer and wakes those whose turn
// it is.
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
