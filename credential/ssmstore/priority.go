package ssmstore

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/store"
)

const (
	// urgentWait is the longest wait of an urgent call that AWS throttled. It is short,
	// so that the call comes before those that wait longer.
	urgentWait = 50 * time.Millisecond
	// urgentAttempts is more attempts than a deadline allows.
	urgentAttempts = 1000
	// priorityWait limits how long other calls wait for urgent ones.
	priorityWait = 2 * time.Second
)

// A priorityGate is for calls that share one of AWS's limits. While an urgent call runs
// ([store.Urgently]), no other call starts.
type priorityGate struct {
	mu     sync.Mutex // guards the rest
	urgent int        // number of running calls
	over   chan struct{}
}

// enter starts an urgent call. The caller must call leave when it has ended.
func (l *priorityGate) enter() (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.urgent++; l.urgent == 1 {
		l.over = make(chan struct{})
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.urgent--; l.urgent == 0 {
			close(l.over)
		}
	}
}

// wait returns when no urgent call is running, but after priorityWait at the latest.
func (l *priorityGate) wait(ctx context.Context) error {
	late := time.After(priorityWait)
	for {
		l.mu.Lock()
		isFree, over := l.urgent == 0, l.over
		l.mu.Unlock()
		if isFree {
			return nil
		}
		select {
		case <-over:
		case <-late:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin returns the options of a call, and a function to call at its end. An urgent call is
// counted, and other calls wait for it. Retries end within the call's deadline.
func (l *priorityGate) begin(ctx context.Context) (options func(*ssm.Options), end func()) {
	var wrap func(aws.Retryer) aws.Retryer
	if store.IsUrgent(ctx) {
		end = l.enter()
		wrap = func(r aws.Retryer) aws.Retryer { return urgentRetryer{r} }
	} else {
		end = func() {}
		wrap = func(r aws.Retryer) aws.Retryer { return waitingRetryer{r, l} }
	}
	return func(o *ssm.Options) { o.Retryer = awsclient.InTime(ctx, wrap(o.Retryer)) }, end
}

// urgentRetryer retries soon after AWS throttled a call.
type urgentRetryer struct{ aws.Retryer }

func (urgentRetryer) MaxAttempts() int { return urgentAttempts }

func (r urgentRetryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	if awsclient.IsThrottle(err) {
		return urgentWait/2 + rand.N(urgentWait/2), nil
	}
	return r.Retryer.RetryDelay(attempt, err)
}

// GetRetryToken does not use the quota of retries, which other throttled calls use up.
func (urgentRetryer) GetRetryToken(context.Context, error) (func(error) error, error) {
	return func(error) error { return nil }, nil
}

// waitingRetryer waits for urgent calls before each attempt.
type waitingRetryer struct {
	aws.Retryer
	gate *priorityGate
}

func (r waitingRetryer) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	if err := r.gate.wait(ctx); err != nil {
		return nil, err
	}
	return r.GetInitialToken(), nil
}
