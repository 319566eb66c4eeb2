// Package httpclient has what all clients of HTTP servers share: a transport with
// timeouts, certificate authorities from a file, retries within a deadline, and
// questions about why a connection failed. Each client words its own errors.
package httpclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

const (
	// MaxWait bounds one request, with all its attempts, for callers without a
	// deadline of their own.
	MaxWait = 30 * time.Second
	// AttemptWait bounds one attempt, so that one lost packet does not use up
	// the caller's deadline.
	AttemptWait = 10 * time.Second
	// MaxAttempts is how often Retry tries.
	MaxAttempts = 6

	backoffFirst = 100 * time.Millisecond
	backoffMost  = 2 * time.Second

	// afterMost bounds what a server can ask for; a date can be so far off that
	// a sum with it overflows.
	afterMost = 24 * time.Hour
)

// A PassingError is a failure that may be gone the next time.
type TransientError struct {
	Err   error         // what a person is told when it is not
	After time.Duration // what the server asks to wait; 0 when it does not say
}

func (e *TransientError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *TransientError) Unwrap() error { return e.Err }

// wait returns how long to wait before the next attempt: what the server asked
// for, and a jittered backoff so that many workspaces do not return at once.
func (e *TransientError) wait(attempt int) time.Duration {
	d := min(backoffFirst<<(attempt-1), backoffMost)
	return e.After + d/2 + rand.N(d/2)
}

// Retry calls try until it returns something else than a [*PassingError], for
// at most MaxAttempts times and never beyond ctx's deadline. When it gives up, or
// the deadline cuts an attempt off, it returns the last failure's Err.
func Retry[T any](ctx context.Context, try func(context.Context) (T, error)) (T, error) {
	var last error
	for attempt := 1; ; attempt++ {
		result, err := try(ctx)
		passing, ok := errors.AsType[*TransientError](err)
		switch {
		case ok:
			last = passing.Err
		case err != nil && last != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			return result, last
		default:
			return result, err
		}
		if attempt == MaxAttempts || !sleep(ctx, passing.wait(attempt)) {
			return result, passing.Err
		}
	}
}

// sleep waits for d and reports whether there is time left after it. It does
// not begin a wait that would end beyond the deadline.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Ahead is how far our clock is ahead of a server's by the Date of its answer, which
// arrived just now; 0 where it does not say. A moment that the answer names is by the
// server's clock: add Ahead to it.
func Ahead(h http.Header) time.Duration {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return clock.Ahead(theirs, time.Now())
}

// RetryAfter reads the header Retry-After, seconds or a date (RFC 9110,
// section 10.2.3), up to a day. A date is by the server's clock. What cannot be
// read, and the past, is 0.
func RetryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, afterMost)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(0, time.Until(at.Add(Ahead(h)))), afterMost)
}
