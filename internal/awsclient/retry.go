package awsclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

const (
	maxAttempts = 6

	// The first waits; each further one is twice as long. A throttle is a rate
	// per second of the whole account, so that it is given more time than a lost
	// connection.
	backoffFirst    = 100 * time.Millisecond
	backoffThrottle = 500 * time.Millisecond
	backoffMost     = 4 * time.Second
)

// NewRetryer is the SDK's standard retryer with shorter waits, which also takes
// an answer that was cut off for one that may be whole the next time. attempts
// is what AWS_MAX_ATTEMPTS or the profile says, or 0.
func NewRetryer(attempts int) aws.Retryer { return retry.NewStandard(options(attempts)) }

// NewAdaptiveRetryer is NewRetryer for a service that throttles one resource, such as a
// table: after a throttle all calls of the client wait for their turn, at a rate that
// the service takes.
func NewAdaptiveRetryer(attempts int) aws.Retryer {
	return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
		o.StandardOptions = append(o.StandardOptions, options(attempts))
	})
}

func options(attempts int) func(*retry.StandardOptions) {
	if attempts == 0 {
		attempts = maxAttempts
	}
	return func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = backoffMost
		o.Backoff = retry.BackoffDelayerFunc(backoff)
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(isCutOff))
	}
}

// isCutOff leaves out refusals that are not in AWS's form: a proxy's web page
// stays what it is.
func isCutOff(err error) aws.Ternary {
	_, ok := errors.AsType[*smithy.DeserializationError](err)
	response, hasStatus := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err)
	if !ok || hasStatus && response.HTTPStatusCode() >= 300 {
		return aws.UnknownTernary
	}
	return aws.TrueTernary
}

// backoff is jittered between half and the whole of its wait.
func backoff(attempt int, err error) (time.Duration, error) {
	first := backoffFirst
	if IsThrottle(err) {
		first = backoffThrottle
	}
	d := min(first<<min(max(attempt-1, 0), 10), backoffMost)
	return d/2 + rand.N(d/2), nil
}

// IsThrottle reports that AWS answers less often than it is asked.
func IsThrottle(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	_, ok = retry.DefaultThrottleErrorCodes[api.ErrorCode()]
	return ok
}

// InTime returns r for one call, whose deadline is ctx's.
func InTime(ctx context.Context, r aws.Retryer) aws.Retryer { return &inTime{r, ctx} }

// inTime is a Retryer that gives up, with the last answer as the reason, when
// the next wait would end beyond the deadline of its one call.
type inTime struct {
	aws.Retryer
	ctx context.Context
}

func (r *inTime) RetryDelay(attempt int, err error) (time.Duration, error) {
	d, delayErr := r.Retryer.RetryDelay(attempt, err)
	if delayErr != nil {
		return 0, delayErr
	}
	if deadline, ok := r.ctx.Deadline(); ok && time.Until(deadline) <= d {
		return 0, err
	}
	return d, nil
}

// GetRetryToken gives up with the last answer as the reason, too, when the
// retryer has no quota left after many failures.
func (r *inTime) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	release, quotaErr := r.Retryer.GetRetryToken(ctx, err)
	if quotaErr != nil {
		return nil, err
	}
	return release, nil
}

// GetAttemptToken waits for the retryer's turn, where it has one.
func (r *inTime) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	if turns, ok := r.Retryer.(aws.RetryerV2); ok {
		return turns.GetAttemptToken(ctx)
	}
	return r.GetInitialToken(), nil
}
