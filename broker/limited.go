package broker

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
)

// Limits bound what one workspace can use up. Fields that are 0 or less bound
// nothing.
type Limits struct {
	Requests int     // running at once
	Rate     float64 // in a second, in the long run
	Burst    int     // at once, when there were none for a while
}

// A Limiter counts the requests of workspaces.
type Limiter struct {
	Limits func() Limits    // in force now
	Now    func() time.Time // nil means time.Now

	mu      sync.Mutex // guards the rest
	buckets map[string]*bucket
	swept   time.Time
}

// bucket is what a workspace may still do.
type bucket struct {
	running int
	left    float64 // of the burst, at the time at
	at      time.Time
}

func (l *Limiter) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// enter counts a request in, or refuses it.
func (l *Limiter) enter(workspace string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	limits := l.Limits()
	b := l.bucket(workspace, limits, l.now())
	if err := b.refusal(workspace, limits); err != nil {
		return err
	}
	if limits.Rate > 0 {
		b.left--
	}
	b.running++
	return nil
}

// Over refuses what Count would, and counts nothing.
func (l *Limiter) Over(workspace string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	limits := l.Limits()
	return l.bucket(workspace, limits, l.now()).refusal(workspace, limits)
}

// refusal is that of one more request; nil where there may be one.
func (b *bucket) refusal(workspace string, limits Limits) error {
	if limits.Requests > 0 && b.running >= limits.Requests {
		return &Refusal{
			Status: http.StatusTooManyRequests, Reason: ReasonLimit, RetryAfter: time.Second,
			Detail: fmt.Sprintf("workspace %s has %d requests running already", workspace, b.running),
		}
	}
	if limits.Rate > 0 && b.left < 1 {
		wait := time.Duration((1 - b.left) / limits.Rate * float64(time.Second))
		return &Refusal{
			Status: http.StatusTooManyRequests, Reason: ReasonLimit, RetryAfter: max(wait, time.Second),
			Detail: fmt.Sprintf("workspace %s asks more often than %g times a second", workspace, limits.Rate),
		}
	}
	return nil
}

// Count counts one request of a workspace, or refuses it.
func (l *Limiter) Count(workspace string) error {
	err := l.enter(workspace)
	if err == nil {
		l.leave(workspace)
	}
	return err
}

// bucket is that of a workspace, as it is now. The caller holds mu.
func (l *Limiter) bucket(workspace string, limits Limits, now time.Time) *bucket {
	l.sweep(limits, now)
	b := l.buckets[workspace]
	if b == nil {
		b = &bucket{left: float64(limits.Burst), at: now}
		l.buckets[workspace] = b
	}
	b.refill(limits, now)
	return b
}

func (b *bucket) refill(limits Limits, now time.Time) {
	b.left = min(max(float64(limits.Burst), 1), b.left+max(0, now.Sub(b.at)).Seconds()*limits.Rate)
	b.at = now
}

func (l *Limiter) leave(workspace string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buckets[workspace].running--
}

// sweep forgets workspaces that are as if they had never come. The caller holds
// mu.
func (l *Limiter) sweep(limits Limits, now time.Time) {
	if l.buckets == nil {
		l.buckets = map[string]*bucket{}
	}
	if now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	for id, b := range l.buckets {
		b.refill(limits, now)
		if b.running == 0 && b.left >= float64(limits.Burst) {
			delete(l.buckets, id)
		}
	}
}

// Count counts one request of a workspace that asks for no token, or refuses it.
func (b *Broker) Count(workspace string) error { return b.requests.Count(workspace) }

// limited refuses a workspace that asks too much. It comes below audited, so that
// this is written down, and above everything that costs.
func limited(l *Limiter, next Vendor) Vendor {
	return func(ctx context.Context, w Workspace, r api.TokenRequest) (Grant, error) {
		if err := l.enter(w.ID); err != nil {
			return Grant{}, err
		}
		defer l.leave(w.ID)
		return next(ctx, w, r)
	}
}

// Gated answers 429 to requests beyond limit that are running at once, before
// anything is read of them. refused is told of each; nil means nobody is.
func Gated(limit func() int, refused func(), next http.Handler) http.Handler {
	var mu sync.Mutex // guards running
	running := 0
	enter := func() bool {
		mu.Lock()
		defer mu.Unlock()
		if running >= limit() {
			return false
		}
		running++
		return true
	}
	leave := func() {
		mu.Lock()
		defer mu.Unlock()
		running--
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !enter() {
			if refused != nil {
				refused()
			}
			w.Header().Set("Retry-After", "1")
			_ = api.WriteProblem(w, api.NewProblem(http.StatusTooManyRequests, "the broker has as many requests running as it takes")) // the client has gone
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	})
}
