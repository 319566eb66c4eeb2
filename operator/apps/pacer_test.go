package apps

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// A simulation has keys that mint as a controller's workers would: a key that is woken asks
// again at once, unless it is asleep.
type simulation struct {
	t      *testing.T
	pacer  *Pacer
	asks   map[Key]Request
	asleep map[Key]bool
	minted []Key
	at     []time.Time

	mu    sync.Mutex // guards queue
	queue []Key      // woken, and not asked again yet
}

func (c *simulation) wake(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, k)
}

// woken empties the queue.
func (c *simulation) woken() []Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	woken := c.queue
	c.queue = nil
	return woken
}

func newSimulation(t *testing.T, perMinute int) *simulation {
	c := &simulation{t: t, asks: map[Key]Request{}, asleep: map[Key]bool{}}
	c.pacer = NewPacer(perMinute, c.wake)
	return c
}

var one, two = Ref{"team", "one"}, Ref{"team", "two"}

func key(n int) Key { return Key{"Token", "team", strconv.Itoa(n)} }

func (c *simulation) ask(a Request) bool {
	c.asks[a.Key] = a
	if !c.pacer.Acquire(a) {
		return false
	}
	delete(c.asks, a.Key)
	c.minted, c.at = append(c.minted, a.Key), append(c.at, time.Now())
	return true
}

// run lets d pass. Timers fire in goroutines of their own, one after the other.
func (c *simulation) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		for _, k := range c.woken() {
			if !c.asleep[k] {
				c.ask(c.asks[k])
			}
		}
	}
}

// most returns the most mints of any minute.
func (c *simulation) most() (most int) {
	for i := range c.at {
		n := 0
		for _, at := range c.at[i:] {
			if at.Sub(c.at[i]) < time.Minute {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// GitHub gives an App 900 points a minute and takes five for a mint. A thousand Tokens
// that are created at once must not meet that limit
// (isometry/github-token-manager#47, crossplane-contrib/provider-upjet-github#137).
func TestAThousandNewTokensStayBelowTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimulation(t, 150)
		for n := range 1000 {
			c.ask(Request{App: one, Key: key(n), Class: New})
		}
		if first := len(c.minted); first == 0 || first > 10 {
			t.Errorf("%d mints at once, want a small burst", first)
		}
		c.run(7 * time.Minute)
		if len(c.minted) != 1000 || c.most() > 150 {
			t.Errorf("%d mints in seven minutes and up to %d in one, want 1000 and 150", len(c.minted), c.most())
		}
		if !slices.IsSortedFunc(c.minted, func(a, b Key) int { return number(a) - number(b) }) {
			t.Error("new keys are not served in the order of asking")
		}
	})
}

func number(k Key) int {
	n, _ := strconv.Atoi(k.Name)
	return n
}

// A key that is late, asks again too early or never comes does not let others go beyond
// the limit, and its slot is not lost.
func TestTurnsThatAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimulation(t, 60)
		random := rand.New(rand.NewPCG(1, 2))
		for n := range 400 {
			c.asleep[key(n)] = n%2 == 0
			c.ask(Request{App: one, Key: key(n), Class: Class(random.IntN(3)), Ends: time.Now().Add(rand.N(time.Hour))})
		}
		for range 300 {
			c.run(time.Duration(random.IntN(3000)) * time.Millisecond)
			k := key(random.IntN(400))
			if a, isWaiting := c.asks[k]; isWaiting && !c.asleep[k] {
				c.ask(a)
			}
		}
		if c.most() > 60 {
			t.Errorf("%d mints in a minute, want 60 at most", c.most())
		}
		if awake := len(c.minted); awake < 200 {
			t.Errorf("%d of those awake minted, want all 200", awake)
		}
	})
}

func TestATurnThatIsNotTakenGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimulation(t, 1)
		c.ask(Request{App: one, Key: key(0), Class: New})
		c.asleep[key(1)] = true
		c.ask(Request{App: one, Key: key(1), Class: New})
		c.ask(Request{App: one, Key: key(2), Class: New})
		c.run(time.Minute + reservationLife + time.Second)
		if !slices.Equal(c.minted, []Key{key(0), key(2)}) {
			t.Errorf("minted %v, want that 2 has the turn of 1", c.minted)
		}
	})
}

func TestTheOrderOfUrgency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimulation(t, 15)
		now := time.Now()
		c.ask(Request{App: one, Key: key(0), Class: New}) // has the first slot
		for _, a := range []Request{
			{Key: key(6), Class: Changed},
			{Key: key(4), Class: New},
			{Key: key(2), Class: Expiring, Ends: now.Add(2 * time.Minute)},
			{Key: key(5), Class: New},
			{Key: key(1), Class: Expiring, Ends: now.Add(time.Minute)},
			{Key: key(3), Class: Changed},
		} {
			a.App = one
			c.ask(a)
		}
		c.ask(Request{App: one, Key: key(3), Class: Expiring, Ends: now.Add(3 * time.Minute)}) // more urgent by now
		c.run(time.Minute)
		want := []Key{key(0), key(1), key(2), key(3), key(4), key(5), key(6)}
		if !slices.Equal(c.minted, want) {
			t.Errorf("minted %v, want %v", c.minted, want)
		}
	})
}

// Of the model system, a slow App held the workers and so all others.
func TestAppsArePacedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimulation(t, 60)
		c.pacer.Pause(one, time.Now().Add(time.Hour))
		for n := range 30 {
			c.ask(Request{App: one, Key: key(n), Class: Expiring, Ends: time.Now()})
			c.ask(Request{App: two, Key: key(100 + n), Class: Changed})
		}
		c.run(30 * time.Second)
		if len(c.minted) != 30 || number(c.minted[0]) < 100 {
			t.Errorf("minted %v, want all of the App that is not held", c.minted)
		}
		n, next := c.pacer.Waiting(one)
		if left := time.Until(next).Round(time.Minute); n != 30 || left != time.Hour {
			t.Errorf("Waiting = %d, in %v, want 30 in an hour", n, left)
		}
		if n, next := c.pacer.Waiting(two); n != 0 || !next.IsZero() {
			t.Errorf("Waiting = %d, %v of the other App, want none", n, next)
		}
	})
}

// A pause that begins while a key is woken cancels its reservation.
func TestHold(t *testing.T) {
	for _, limit := range []int{0, 60} {
		synctest.Test(t, func(t *testing.T) {
			c := newSimulation(t, limit)
			c.pacer.Pause(one, time.Now().Add(time.Minute))
			for n := range 5 {
				if c.ask(Request{App: one, Key: key(n), Class: New}) {
					t.Errorf("limit %d: a mint during the pause", limit)
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait() // some are woken
			c.pacer.Pause(one, time.Now().Add(time.Minute))
			c.pacer.Pause(one, time.Now().Add(time.Second)) // never shorter
			if c.run(50 * time.Second); len(c.minted) > 0 {
				t.Errorf("limit %d: minted %v during the second pause", limit, c.minted)
			}
			if c.run(20 * time.Second); len(c.minted) != 5 {
				t.Errorf("limit %d: minted %v after it, want all five", limit, c.minted)
			}
		})
	}
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimulation(t, 1)
		for n := range 4 {
			c.ask(Request{App: one, Key: key(n), Class: New})
		}
		c.pacer.Forget(key(1))
		time.Sleep(time.Minute)
		synctest.Wait() // 2 is woken
		c.pacer.Forget(key(2))
		delete(c.asks, key(1))
		c.asleep[key(2)] = true
		c.run(time.Second)
		if !slices.Equal(c.minted, []Key{key(0), key(3)}) {
			t.Errorf("minted %v, want 0 and 3, which has the turn of 2", c.minted)
		}
	})
}

func TestNoLimit(t *testing.T) {
	p := NewPacer(0, func(Key) { t.Error("a key is woken") })
	for n := range 1000 {
		if !p.Acquire(Request{App: one, Key: key(n), Class: Changed}) {
			t.Fatal("a key has to wait")
		}
	}
	if len(p.limiters) != 0 {
		t.Errorf("%d limiters are kept, want none: nothing is known of any App", len(p.limiters))
	}
}

// What is left of the hour is for tokens that end.
func TestAShortHourIsForWhatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		c := newSimulation(t, 60)
		c.pacer.UpdateRate(app) // nothing is known yet
		w.setRate(t, app, 5000, 999)
		c.pacer.UpdateRate(app)
		c.ask(Request{App: app.Pace, Key: key(0), Class: New})
		c.ask(Request{App: app.Pace, Key: key(1), Class: Changed})
		if !c.ask(Request{App: app.Pace, Key: key(2), Class: Expiring, Ends: time.Now()}) {
			t.Error("a token that ends has to wait")
		}
		if c.run(59 * time.Minute); len(c.minted) != 1 {
			t.Errorf("minted %v within the hour, want what ends alone", c.minted)
		}
		if c.run(2 * time.Minute); len(c.minted) != 3 {
			t.Errorf("minted %v after the hour, want all", c.minted)
		}
	})
}

// A status says why a token is not there yet, and why an old one is still in use.
func TestAQueuedKeyIsToldWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSimulation(t, 30)
		told := func(what string, class Class, reason, text string, isLong bool) {
			t.Helper()
			r, m, long := c.pacer.WaitReason(one, class)
			if r != reason || !strings.Contains(m, text) || long != isLong {
				t.Errorf("%s: %s, %q, long: %v; want %s, %q, %v", what, r, m, long, reason, text, isLong)
			}
		}
		for n := range 10 {
			c.ask(Request{App: one, Key: key(n), Class: New})
		}
		told("a short queue", New, v1.ReasonProgressing, "at most 30 tokens a minute", false)
		for n := range 50 {
			c.ask(Request{App: one, Key: key(n), Class: New})
		}
		told("a queue of more than a minute", New, v1.ReasonProgressing, "at most 30 tokens a minute", true)
		c.pacer.Pause(one, time.Now().Add(30*time.Second))
		told("a pause of half a minute", Expiring, v1.ReasonRateLimited, "GitHub asks the App to wait until 2000-01-01T00:00:30Z", false)
		c.pacer.Pause(one, time.Now().Add(time.Hour))
		told("a pause of an hour", Changed, v1.ReasonRateLimited, "GitHub asks the App to wait until 2000-01-01T01:00:00Z", true)
		c.pacer.with(two, func(l *limiter, now time.Time) []Key { l.lowUntil = now.Add(10 * time.Minute); return nil })
		r, m, long := c.pacer.WaitReason(two, Changed)
		if r != v1.ReasonRateLimited || !strings.HasSuffix(m, "the next hour begins at 2000-01-01T00:10:00Z") || !long {
			t.Errorf("a short hour: %s, %q, %v", r, m, long)
		}
		if r, _, long := c.pacer.WaitReason(two, Expiring); r != v1.ReasonProgressing || long {
			t.Errorf("a token that ends in a short hour: %s, %v", r, long)
		}
	})
}

// Ten thousand queued keys are looked at by each reconcile.
func BenchmarkTake(b *testing.B) {
	p := NewPacer(150, func(Key) {})
	p.Pause(one, time.Now().Add(time.Hour))
	asks := make([]Request, 10_000)
	for n := range asks {
		asks[n] = Request{App: one, Key: Key{"Token", fmt.Sprint("team-", n%100), strconv.Itoa(n)}, Class: Class(n % 3), Ends: time.Now().Add(time.Duration(n*7919%10_000) * time.Second)}
		p.Acquire(asks[n])
	}
	for n := 0; b.Loop(); n++ {
		p.Acquire(asks[n%len(asks)])
	}
}
