package apps

import (
	"container/heap"
	"time"
)

const (
	window          = time.Minute
	reservationLife = 5 * time.Second // a reserved slot that is not used by then goes to the next key
	burstDivisor    = 15              // a burst is at most this fraction of a minute's mints: one part in burstDivisor
)

// A limiter is the queue and the rate limit of one App. In any minute, at most limit slots are used or
// reserved. Between bursts they are spread evenly.
type limiter struct {
	limit int // 0 means no limit
	timer *time.Timer

	queue        queue
	queued       map[Key]*waiter
	reservations map[Key]reservation
	mints        []time.Time // in the last minute, oldest first
	requested    int         // so far, for the order

	credit      float64   // slots that are free right now
	creditAt    time.Time // when credit had that value
	pausedUntil time.Time // no mint before this time
	lowUntil    time.Time // only tokens that end soon are minted before this time
}

// A reservation is a slot that is kept for a key; wake was called for the key.
type reservation struct {
	request Request
	until   time.Time
}

func newLimiter(limit int) *limiter {
	return &limiter{limit: limit, queued: map[Key]*waiter{}, reservations: map[Key]reservation{}, credit: burstOf(limit)}
}

func burstOf(limit int) float64 { return float64(max(1, limit/burstDivisor)) }

// acquire reports whether a key may mint now; otherwise it queues the key.
func (l *limiter) acquire(a Request, now time.Time) bool {
	l.refresh(now)
	if o, ok := l.reservations[a.Key]; ok && now.Before(o.until) {
		delete(l.reservations, a.Key)
		l.recordMint(now)
		return true
	}
	l.enqueue(a)
	if l.mayMint(now) && l.queue[0].request.Key == a.Key {
		l.forget(a.Key)
		l.credit--
		l.recordMint(now)
		return true
	}
	return false
}

func (l *limiter) recordMint(now time.Time) {
	if l.limit > 0 {
		l.mints = append(l.mints, now)
	}
}

// enqueue queues a key. A key that is already queued keeps its place within its class.
func (l *limiter) enqueue(a Request) {
	if w := l.queued[a.Key]; w != nil {
		w.request = a
		heap.Fix(&l.queue, w.index)
		return
	}
	l.requested++
	w := &waiter{request: a, order: l.requested}
	l.queued[a.Key] = w
	heap.Push(&l.queue, w)
}

func (l *limiter) forget(key Key) {
	if w := l.queued[key]; w != nil {
		heap.Remove(&l.queue, w.index)
		delete(l.queued, key)
	}
	if _, ok := l.reservations[key]; ok {
		delete(l.reservations, key)
		l.credit++
	}
}

// pause cancels the reservations, and makes none until that time.
func (l *limiter) pause(until time.Time) {
	if !until.After(l.pausedUntil) {
		return
	}
	l.pausedUntil = until
	for key, o := range l.reservations {
		delete(l.reservations, key)
		l.credit++
		l.enqueue(o.request)
	}
}

// refresh forgets mints of more than a minute ago, and reservations that were not used in time. The credit grows evenly.
func (l *limiter) refresh(now time.Time) {
	for len(l.mints) > 0 && now.Sub(l.mints[0]) >= window {
		l.mints = l.mints[1:]
	}
	for key, o := range l.reservations {
		if !now.Before(o.until) {
			delete(l.reservations, key)
			l.credit++
		}
	}
	if !l.creditAt.IsZero() {
		l.credit += float64(l.limit) * now.Sub(l.creditAt).Seconds() / window.Seconds()
	}
	l.credit, l.creditAt = min(l.credit, burstOf(l.limit)), now
}

// mayMint reports whether the first of the queue may mint now.
func (l *limiter) mayMint(now time.Time) bool { return len(l.queue) > 0 && l.wait(now) <= 0 }

// wait returns how long the first of the queue has to wait, as far as that is known.
func (l *limiter) wait(now time.Time) time.Duration {
	wait := l.pausedUntil.Sub(now)
	if l.queue[0].request.Class != Expiring {
		wait = max(wait, l.lowUntil.Sub(now))
	}
	if l.limit == 0 {
		return wait
	}
	if lacking := 1 - l.credit; lacking > epsilon {
		wait = max(wait, time.Duration(lacking*float64(window)/float64(l.limit))+1)
	}
	if n := len(l.mints) + len(l.reservations); n >= l.limit {
		wait = max(wait, l.untilFree(now))
	}
	return wait
}

// epsilon is the tolerance for sums of fractions.
const epsilon = 1e-6

// untilFree returns how long it takes until a mint of the last minute no longer counts.
func (l *limiter) untilFree(now time.Time) time.Duration {
	if len(l.mints) == 0 {
		return reservationLife // all slots are reserved
	}
	return l.mints[0].Add(window).Sub(now)
}

// advance reserves slots for waiting keys, and returns these keys.
func (l *limiter) advance(now time.Time) (woken []Key) {
	l.refresh(now)
	for l.mayMint(now) {
		w := heap.Pop(&l.queue).(*waiter)
		delete(l.queued, w.request.Key)
		l.credit--
		l.reservations[w.request.Key] = reservation{w.request, now.Add(reservationLife)}
		woken = append(woken, w.request.Key)
	}
	return woken
}

// next returns when the limiter needs attention again, and whether it does.
func (l *limiter) next(now time.Time) (time.Duration, bool) {
	if len(l.queue) == 0 {
		return 0, false
	}
	next := l.wait(now)
	for _, o := range l.reservations {
		next = min(next, o.until.Sub(now)) // its slot may go to another key
	}
	return max(next, 0), true
}

// isIdle reports whether the limiter holds no state that matters.
func (l *limiter) isIdle(now time.Time) bool {
	return len(l.queue)+len(l.reservations)+len(l.mints) == 0 && !l.pausedUntil.After(now) && !l.lowUntil.After(now)
}

// A waiter is a key in a queue.
type waiter struct {
	request Request
	order   int // of asking
	index   int // position in the queue
}

// A queue is a heap, most urgent first.
type queue []*waiter

func (q queue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	switch {
	case a.request.Class != b.request.Class:
		return a.request.Class < b.request.Class
	case a.request.Class == Expiring && !a.request.Ends.Equal(b.request.Ends):
		return a.request.Ends.Before(b.request.Ends)
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
