package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/internal/fairshare"
)

// Limits bound what one workspace can use. Fields that are 0 or less are unlimited.
type Limits struct {
	Requests int     // concurrent
	Rate     float64 // per second, on average
	Burst    int     // at once after a pause
}

// A Limiter limits the requests of each workspace.
type Limiter struct {
	Limits func() Limits    // returns the limits in force
	Now    func() time.Time // nil means time.Now

	mu      sync.Mutex // guards the rest
	buckets map[string]*bucket
	swept   time.Time
}

// bucket is the token bucket of one workspace.
type bucket struct {
	running int
	left    float64 // requests left of the burst, at the time at
	at      time.Time
}

func (l *Limiter) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// enter counts a request as running, or refuses it.
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

// Over returns the refusal that Count would return, and counts nothing.
func (l *Limiter) Over(workspace string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	limits := l.Limits()
	return l.bucket(workspace, limits, l.now()).refusal(workspace, limits)
}

// refusal is the refusal of one more request; nil if it is allowed.
func (b *bucket) refusal(workspace string, limits Limits) error {
	if limits.Requests > 0 && b.running >= limits.Requests {
		return &Refusal{
			Status: http.StatusTooManyRequests, Reason: ReasonLimit, RetryAfter: time.Second,
			Detail: fmt.Sprintf("workspace %s has %d running requests already", workspace, b.running),
		}
	}
	if limits.Rate > 0 && b.left < 1 {
		wait := time.Duration((1 - b.left) / limits.Rate * float64(time.Second))
		return &Refusal{
			Status: http.StatusTooManyRequests, Reason: ReasonLimit, RetryAfter: max(wait, time.Second),
			Detail: fmt.Sprintf("workspace %s sends more than %g requests a second", workspace, limits.Rate),
		}
	}
	return nil
}

// Count counts one request of a workspace. It returns a [*Refusal] if there are too
// many.
func (l *Limiter) Count(workspace string) error {
	err := l.enter(workspace)
	if err == nil {
		l.leave(workspace)
	}
	return err
}

// take takes n from the workspace's bucket, or refuses all of them.
func (l *Limiter) take(workspace string, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	limits, now := l.Limits(), l.now()
	if limits.Rate <= 0 {
		return nil
	}
	b := l.bucket(workspace, limits, now)
	if lacking := float64(n) - b.left; lacking > 0 {
		wait := time.Duration(lacking / limits.Rate * float64(time.Second))
		return &Refusal{
			Status: http.StatusTooManyRequests, Reason: ReasonLimit, RetryAfter: max(wait, time.Second),
			Detail: fmt.Sprintf("workspace %s reports more than %g refs a second", workspace, limits.Rate),
		}
	}
	b.left -= float64(n)
	return nil
}

// bucket returns the refilled bucket of a workspace. The caller holds mu.
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

// sweep removes workspaces whose bucket is full. The caller holds mu.
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

// Count counts one request of a workspace that asks for no token. It returns a
// [*Refusal] if there are too many.
func (b *Broker) Count(workspace string) error { return b.requests.Count(workspace) }

// limited refuses workspaces that ask too often. It is below audited, so that refusals are
// recorded, and above everything expensive.
func limited(l *Limiter, next Vendor) Vendor {
	return func(ctx context.Context, w Workspace, r api.TokenRequest) (Grant, error) {
		if err := l.enter(w.ID); err != nil {
			return Grant{}, err
		}
		defer l.leave(w.ID)
		return next(ctx, w, r)
	}
}

// Gated answers 429 to requests beyond limit concurrent ones, before it reads anything of
// them. It calls refused for each, unless that is nil.
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
			_ = api.WriteProblem(w, api.NewProblem(http.StatusTooManyRequests, "the broker is at its limit of concurrent requests")) // fails only if the client closed the connection
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	})
}

// ChargeUnauth counts a request without an identity against its address, and refuses it
// beyond the limit. Such refusals are counted in metrics and not recorded, so that
// callers without an identity cannot fill the disk.
func (b *Broker) ChargeUnauth(r *http.Request) error {
	return b.limitUnauth(r, (*Limiter).Count)
}

// RefuseUnauth records that a request had no valid identity, and returns the answer: err as a
// refusal, or 429 beyond the limit of its address. operation is what was requested; "" is a
// token.
func (b *Broker) RefuseUnauth(r *http.Request, id, operation string, err error) error {
	if err := b.ChargeUnauth(r); err != nil {
		return err
	}
	refusal := RefusalOf(err)
	e := Entry{
		Time: b.Now().UTC(), Kind: KindRequest, RequestID: id, Remote: r.RemoteAddr, Operation: operation,
		Decision: Refused, Reason: refusal.Reason, Detail: refusal.Detail, Policy: b.Policy().Hash,
	}
	if writeErr := b.Journal.Write(context.WithoutCancel(r.Context()), e, false); writeErr != nil {
		return AuditUnavailable(errors.Join(err, writeErr))
	}
	return refusal
}

// UnauthExceeded returns the refusal that [Broker.ChargeUnauth] would return, and counts
// nothing. It is called before expensive checks.
func (b *Broker) UnauthExceeded(r *http.Request) error {
	return b.limitUnauth(r, (*Limiter).Over)
}

func (b *Broker) limitUnauth(r *http.Request, judge func(*Limiter, string) error) error {
	if err := judge(b.unauth, fairshare.Address(r.RemoteAddr)); err != nil {
		refusal := RefusalOf(err)
		return &Refusal{Status: refusal.Status, Reason: ReasonLimit, RetryAfter: refusal.RetryAfter, Detail: "this address sends too many requests without an identity"}
	}
	return nil
}

const (
	maxBodies = 64
	// bodyTime is the time for a whole body. Normal clients send it together with the
	// headers.
	bodyTime  = 5 * time.Second
	bodyCount = 64 << 10 // bytes; see BodyLimiter.Each
)

// BodyLimiter limits how many bodies are read or written at once, because a slow client
// takes the place of another request. It allows 64, for five seconds each. One more
// ends the one that [fairshare.Pool] evicts.
type BodyLimiter struct {
	// Each is the least that a body counts for, in bytes. The limit for all is 64 times
	// Each. 0 means 64 KiB.
	Each int64

	once sync.Once
	room fairshare.Pool
}

// Read calls read, which must read the request's body to its end. The body counts for
// from, and has at most size bytes. Reading fails with [os.ErrDeadlineExceeded] if it
// takes too long, or if the body is evicted.
func (b *BodyLimiter) Read(w http.ResponseWriter, from string, size int64, read func() error) error {
	deadline := http.NewResponseController(w).SetReadDeadline
	err := b.limit(from, size, deadline, read)
	if err == nil {
		_ = deadline(time.Time{}) // otherwise its end would look as if the client had gone
	}
	return err
}

// Write calls write, which writes an answer of size bytes. After that, net/http has
// another five seconds to send what it has buffered.
func (b *BodyLimiter) Write(w http.ResponseWriter, from string, size int64, write func() error) error {
	deadline := http.NewResponseController(w).SetWriteDeadline
	err := b.limit(from, size, deadline, write)
	if err == nil {
		_ = deadline(time.Now().Add(bodyTime)) // otherwise a client could delay the end forever
	}
	return err
}

func (b *BodyLimiter) limit(from string, size int64, deadline func(time.Time) error, do func() error) error {
	b.once.Do(func() {
		if b.Each == 0 {
			b.Each = bodyCount
		}
		b.room.Size, b.room.EvictOldest = maxBodies*b.Each, true
	})
	until := func(t time.Time) { _ = deadline(t) } // fails only without a connection
	until(time.Now().Add(bodyTime))
	leave, ok := b.room.Acquire(from, max(size, b.Each), func() { until(time.Unix(1, 0)) })
	if !ok {
		return &Refusal{Status: http.StatusRequestEntityTooLarge, Reason: ReasonRequest, Detail: "the request is too large"}
	}
	defer leave()
	return do()
}
