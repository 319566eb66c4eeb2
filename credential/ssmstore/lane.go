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
	// urgentWait is the longest wait of an urgent call that AWS refused because it is asked
	// too often: it takes the next call that AWS allows, before those that wait for longer.
	urgentWait = 100 * time.Millisecond
	// urgentAttempts is more than a deadline leaves time for.
	urgentAttempts = 1000
	// laneWait bounds how long other calls wait for urgent ones.
	laneWait = 2 * time.Second
)

// A lane is for calls that share one of AWS's limits. While an urgent call is under way
// ([store.Urgently]), no other begins.
type lane struct {
	mu     sync.Mutex // guards the rest
	urgent int        // calls under way
	over   chan struct{}
}

// enter begins an urgent call. The caller calls leave when it has ended.
func (l *lane) enter() (leave func()) {
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

// wait returns when no urgent call is under way, and after laneWait at the latest.
func (l *lane) wait(ctx context.Context) error {
	late := time.After(laneWait)
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

// begin has a call keep to its lane. It returns the options of the call, and what to call
// at its end. Retries end within the call's deadline.
func (l *lane) begin(ctx context.Context) (options func(*ssm.Options), end func()) {
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

// urgentRetryer asks again soon where AWS refuses calls because there are too many.
type urgentRetryer struct{ aws.Retryer }

func (urgentRetryer) MaxAttempts() int { return urgentAttempts }

func (r urgentRetryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	if awsclient.IsThrottle(err) {
		return urgentWait/2 + rand.N(urgentWait/2), nil
	}
	return r.Retryer.RetryDelay(attempt, err)
}

// GetRetryToken takes nothing from the quota of retries, which throttled calls of others use up.
func (urgentRetryer) GetRetryToken(context.Context, error) (func(error) error, error) {
	return func(error) error { return nil }, nil
}

// waitingRetryer lets urgent calls go before each attempt.
type waitingRetryer struct {
	aws.Retryer
	lane *lane
}

func (r waitingRetryer) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	if err := r.lane.wait(ctx); err != nil {
		return nil, err
	}
	return r.GetInitialToken(), nil
}
