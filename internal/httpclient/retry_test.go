package httpclient

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetry(t *testing.T) {
	failure, final := errors.New("busy"), errors.New("refused")
	passing := &TransientError{Err: failure}
	for _, c := range []struct {
		name     string
		outcomes []error // the last one repeats
		deadline time.Duration
		calls    int
		want     error
	}{
		{"no trouble", []error{nil}, time.Minute, 1, nil},
		{"trouble that passes", []error{passing, passing, nil}, time.Minute, 3, nil},
		{"a refusal", []error{final}, time.Minute, 1, final},
		{"trouble that stays", []error{passing}, time.Minute, MaxAttempts, failure},
		{"a wait past the deadline", []error{&TransientError{Err: failure, After: time.Hour}}, time.Minute, 1, failure},
		{"a deadline between two waits", []error{passing}, 140 * time.Millisecond, 2, failure},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				calls := 0
				_, err := Retry(ctx, func(context.Context) (int, error) {
					calls++
					return calls, c.outcomes[min(calls, len(c.outcomes))-1]
				})
				if !errors.Is(err, c.want) || calls != c.calls {
					t.Errorf("Retry = %v after %d calls, want %v after %d", err, calls, c.want, c.calls)
				}
			})
		})
	}
}

// What the server said is more useful than that the time was up.
func TestRetryTellsTheLastAnswer(t *testing.T) {
	busy := errors.New("busy")
	for _, c := range []struct {
		name   string
		answer error // of the first attempt
		want   error
	}{
		{"an answer before", &TransientError{Err: busy}, busy},
		{"none before", nil, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				answer := c.answer
				_, err := Retry(ctx, func(ctx context.Context) (int, error) {
					if err := answer; err != nil {
						answer = nil
						return 0, err
					}
					<-ctx.Done()
					return 0, ctx.Err()
				})
				if !errors.Is(err, c.want) {
					t.Errorf("Retry = %v, want %v", err, c.want)
				}
			})
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-1", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := TransientError{After: RetryAfter(http.Header{"Retry-After": {s}})}
		for attempt := 1; attempt <= MaxAttempts; attempt++ {
			if d := e.wait(attempt); d <= 0 {
				t.Errorf("wait(%d) for Retry-After %q = %v, want more than 0", attempt, s, d)
			}
		}
	})
}

// The date in Retry-After is by the server's clock, and so is the Date of the same
// answer.
func TestRetryAfterADateByTheServersClock(t *testing.T) {
	for _, off := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour} {
		theirs := time.Now().Add(off).UTC()
		h := http.Header{"Retry-After": {theirs.Add(time.Minute).Format(http.TimeFormat)}, "Date": {theirs.Format(http.TimeFormat)}}
		if d := RetryAfter(h); (d - time.Minute).Abs() > 10*time.Second {
			t.Errorf("the server's clock is %v off: RetryAfter = %v, want a minute", off, d)
		}
	}
}
