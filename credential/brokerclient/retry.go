package brokerclient

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 2 * time.Second

	// afterMost bounds what a broker can ask for; a date can be so far off that
	// a sum with it overflows.
	afterMost = 24 * time.Hour
)

// passingError is a failure that may be gone the next time.
type passingError struct {
	err   error
	after time.Duration // what the broker asks to wait; 0 when it does not say
}

func (e *passingError) Error() string { return e.err.Error() }
func (e *passingError) Unwrap() error { return e.err }

// wait returns how long to wait before the next attempt: what the broker asked
// for, and a jittered backoff so that many workspaces do not return at once.
func (e *passingError) wait(attempt int) time.Duration {
	d := min(backoffFirst<<(attempt-1), backoffMost)
	return e.after + d/2 + rand.N(d/2)
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

// retryAfter reads the header Retry-After, seconds or a date (RFC 9110,
// section 10.2.3), up to a day. What cannot be read, and the past, is 0.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, afterMost)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(0, time.Until(at)), afterMost)
}
