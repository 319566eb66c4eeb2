// Package httpclient is the common part of all HTTP clients: a transport with timeouts,
// certificate authorities from a file, retries within a deadline, and tests for why a
// connection failed. Each client words its own errors.
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
	// MaxWait limits one request with all its attempts, for callers without a deadline.
	MaxWait = 30 * time.Second
	// AttemptWait limits one attempt, so that one lost packet does not use up the
	// caller's deadline.
	AttemptWait = 10 * time.Second
	// MaxAttempts is how often Retry tries.
	MaxAttempts = 6

	backoffFirst = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second

	// maxRetryAfter limits the wait that a server can ask for; a date can be so far off
	// that a sum with it overflows.
	maxRetryAfter = 24 * time.Hour
)

// A TransientError is a failure that may be gone at the next attempt.
type TransientError struct {
	Err   error         // the error for a person, if it is not gone
	After time.Duration // how long the server asks to wait; 0 if it does not say
}

func (e *TransientError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *TransientError) Unwrap() error { return e.Err }

// wait returns how long to wait before the next attempt: what the server asked for,
// plus a random backoff so that many workspaces do not return at the same time.
func (e *TransientError) wait(attempt int) time.Duration {
	d := min(backoffFirst<<(attempt-1), maxBackoff)
	return e.After + d/2 + rand.N(d/2)
}

// Retry calls try until it returns a result or an error other than a [*TransientError],
// at most MaxAttempts times and never after ctx's deadline. When it gives up, or the
// deadline ends an attempt, it returns the Err of the last failure.
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

// sleep waits for d and reports whether there is time left after it. It does not start
// a wait that would end after the deadline.
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

// Ahead returns how far our clock is ahead of a server's, by the Date of its answer,
// which has just arrived; 0 if the answer has none. A time in the answer is by the
// server's clock: add Ahead to it.
func Ahead(h http.Header) time.Duration {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return clock.Ahead(theirs, time.Now())
}

// RetryAfter reads the header Retry-After, seconds or a date (RFC 9110, section
// 10.2.3), up to a day. A date is by the server's clock. The result is 0 for a header
// that cannot be parsed and for a time in the past.
func RetryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(0, time.Until(at.Add(Ahead(h)))), maxRetryAfter)
}
