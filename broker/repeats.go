package broker

import (
	"sync"
	"time"
)

// repeatEvery is how often it is written down that a workspace is refused for
// asking too often.
const repeatEvery = time.Second

// repeats keeps a workspace from filling the disk, and with it from stopping
// everybody, by being refused for asking too often: one line a second says so, and
// how many there were since the last.
type repeats struct {
	mu    sync.Mutex // guards the rest
	of    map[string]repeated
	swept time.Time
}

type repeated struct {
	written time.Time
	since   int // refused and not written down
}

// written returns how many were not written down before a line that is, and
// whether this one is: any but those for asking too often are.
func (r *repeats) written(workspace string, isLimit bool, now time.Time) (since int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.of[workspace]
	if isLimit && now.Sub(last.written) < repeatEvery && !now.Before(last.written) {
		last.since++
		r.of[workspace] = last
		return 0, false
	}
	if !isLimit {
		if last.since > 0 {
			r.of[workspace] = repeated{written: last.written}
		}
		return last.since, true
	}
	r.sweep(now)
	r.of[workspace] = repeated{written: now}
	return last.since, true
}

// sweep forgets those who are not refused any more. The caller holds mu.
func (r *repeats) sweep(now time.Time) {
	if r.of == nil {
		r.of = map[string]repeated{}
	}
	if now.Sub(r.swept) < sweepEvery {
		return
	}
	r.swept = now
	for id, last := range r.of {
		if now.Sub(last.written) >= sweepEvery {
			delete(r.of, id)
		}
	}
}
