package apps

import (
	"container/heap"
	"time"
)

const (
	window    = time.Minute
	offerLife = 5 * time.Second // an offered turn that is not taken by then goes to the next key
	sparse    = 15              // a burst is at most this fraction of a minute's mints: one part in sparse
)

// A lane is the queue of one App. In any minute, at most limit turns are taken or on
// offer. Between bursts they are spread evenly.
type lane struct {
	limit int // 0 means no limit
	timer *time.Timer

	queue  queue
	queued map[Key]*waiter
	offers map[Key]offer
	taken  []time.Time // in the last minute, oldest first
	asked  int         // so far, for the order

	credit float64   // turns that may be given right now
	since  time.Time // when credit had that value
	held   time.Time // no mint before this time
	short  time.Time // only tokens that end soon are minted before this time
}

// An offer is a turn that was offered to a key; wake was called for the key.
type offer struct {
	ask   Ask
	until time.Time
}

func newLane(limit int) *lane {
	return &lane{limit: limit, queued: map[Key]*waiter{}, offers: map[Key]offer{}, credit: burstOf(limit)}
}

func burstOf(limit int) float64 { return float64(max(1, limit/sparse)) }

// take reports whether a key may mint now; otherwise it queues the key.
func (l *lane) take(a Ask, now time.Time) bool {
	l.refresh(now)
	if o, ok := l.offers[a.Key]; ok && now.Before(o.until) {
		delete(l.offers, a.Key)
		l.use(now)
		return true
	}
	l.put(a)
	if l.mayGive(now) && l.queue[0].ask.Key == a.Key {
		l.forget(a.Key)
		l.credit--
		l.use(now)
		return true
	}
	return false
}

func (l *lane) use(now time.Time) {
	if l.limit > 0 {
		l.taken = append(l.taken, now)
	}
}

// put queues a key. A key that is already queued keeps its place within its class.
func (l *lane) put(a Ask) {
	if w := l.queued[a.Key]; w != nil {
		w.ask = a
		heap.Fix(&l.queue, w.index)
		return
	}
	l.asked++
	w := &waiter{ask: a, order: l.asked}
	l.queued[a.Key] = w
	heap.Push(&l.queue, w)
}

func (l *lane) forget(key Key) {
	if w := l.queued[key]; w != nil {
		heap.Remove(&l.queue, w.index)
		delete(l.queued, key)
	}
	if _, ok := l.offers[key]; ok {
		delete(l.offers, key)
		l.credit++
	}
}

// hold withdraws the turns on offer, and gives none until that time.
func (l *lane) hold(until time.Time) {
	if !until.After(l.held) {
		return
	}
	l.held = until
	for key, o := range l.offers {
		delete(l.offers, key)
		l.credit++
		l.put(o.ask)
	}
}

// refresh forgets turns of more than a minute ago, and offers that were not taken in time. The credit grows evenly.
func (l *lane) refresh(now time.Time) {
	for len(l.taken) > 0 && now.Sub(l.taken[0]) >= window {
		l.taken = l.taken[1:]
	}
	for key, o := range l.offers {
		if !now.Before(o.until) {
			delete(l.offers, key)
			l.credit++
		}
	}
	if !l.since.IsZero() {
		l.credit += float64(l.limit) * now.Sub(l.since).Seconds() / window.Seconds()
	}
	l.credit, l.since = min(l.credit, burstOf(l.limit)), now
}

// mayGive reports whether the first of the queue may mint now.
func (l *lane) mayGive(now time.Time) bool { return len(l.queue) > 0 && l.wait(now) <= 0 }

// wait returns how long the first of the queue has to wait, as far as that is known.
func (l *lane) wait(now time.Time) time.Duration {
	wait := l.held.Sub(now)
	if l.queue[0].ask.Class != Ending {
		wait = max(wait, l.short.Sub(now))
	}
	if l.limit == 0 {
		return wait
	}
	if lacking := 1 - l.credit; lacking > epsilon {
		wait = max(wait, time.Duration(lacking*float64(window)/float64(l.limit))+1)
	}
	if n := len(l.taken) + len(l.offers); n >= l.limit {
		wait = max(wait, l.freed(now))
	}
	return wait
}

// epsilon is the tolerance for sums of fractions.
const epsilon = 1e-6

// freed returns how long it takes until a turn of the last minute no longer counts.
func (l *lane) freed(now time.Time) time.Duration {
	if len(l.taken) == 0 {
		return offerLife // all turns are on offer
	}
	return l.taken[0].Add(window).Sub(now)
}

// advance offers turns to waiting keys, and returns the keys that have one now.
func (l *lane) advance(now time.Time) (woken []Key) {
	l.refresh(now)
	for l.mayGive(now) {
		w := heap.Pop(&l.queue).(*waiter)
		delete(l.queued, w.ask.Key)
		l.credit--
		l.offers[w.ask.Key] = offer{w.ask, now.Add(offerLife)}
		woken = append(woken, w.ask.Key)
	}
	return woken
}

// next returns when the lane needs attention again, and whether it does.
func (l *lane) next(now time.Time) (time.Duration, bool) {
	if len(l.queue) == 0 {
		return 0, false
	}
	next := l.wait(now)
	for _, o := range l.offers {
		next = min(next, o.until.Sub(now)) // its turn may go to another key
	}
	return max(next, 0), true
}

// isIdle reports whether the lane holds no state that matters.
func (l *lane) isIdle(now time.Time) bool {
	return len(l.queue)+len(l.offers)+len(l.taken) == 0 && !l.held.After(now) && !l.short.After(now)
}

// A waiter is a key in a queue.
type waiter struct {
	ask   Ask
	order int // of asking
	index int // position in the queue
}

// A queue is a heap, most urgent first.
type queue []*waiter

func (q queue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	switch {
	case a.ask.Class != b.ask.Class:
		return a.ask.Class < b.ask.Class
	case a.ask.Class == Ending && !a.ask.Ends.Equal(b.ask.Ends):
		return a.ask.Ends.Before(b.ask.Ends)
	}
	return a.order < b.order
}

// Swap implements heap.Interface.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	w := x.(*waiter)
	w.index = len(*q)
	*q = append(*q, w)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return w
}
