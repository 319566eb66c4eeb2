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

	// The first waits; each further one is twice as long. A throttle is a rate per
	// second of the whole account, so it gets more time than a lost connection.
	backoffFirst    = 100 * time.Millisecond
	backoffThrottle = 500 * time.Millisecond
	maxBackoff      = 4 * time.Second
)

// NewRetryer returns the SDK's standard retryer with shorter waits. It also retries an
// answer that was cut off. attempts is from AWS_MAX_ATTEMPTS or the profile, or 0.
func NewRetryer(attempts int) aws.Retryer { return retry.NewStandard(options(attempts)) }

// NewAdaptiveRetryer is like NewRetryer, for a service that throttles one resource,
// such as a table: after a throttle, all calls of the client wait for their turn, at a
// rate that the service accepts.
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
		o.MaxBackoff = maxBackoff
		o.Backoff = retry.BackoffDelayerFunc(backoff)
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(isCutOff))
	}
}

// isCutOff excludes refusals that are not in AWS's form: a proxy's web page would be
// the same next time.
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

// backoff returns a random wait between half and the whole of its length.
func backoff(attempt int, err error) (time.Duration, error) {
	first := backoffFirst
	if IsThrottle(err) {
		first = backoffThrottle
	}
	d := min(first<<min(max(attempt-1, 0), 10), maxBackoff)
	return d/2 + rand.N(d/2), nil
}

// IsThrottle reports whether AWS refused a call because there were too many.
func IsThrottle(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	_, ok = retry.DefaultThrottleErrorCodes[api.ErrorCode()]
	return ok
}

// InTime returns r for one call, which has the deadline of ctx.
func InTime(ctx context.Context, r aws.Retryer) aws.Retryer { return &inTime{r, ctx} }

// inTime is a Retryer that gives up if the next wait would end after the deadline of
// its one call. The error is then the last answer.
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

// GetRetryToken also gives up with the last answer as the error if the retryer has no
// quota left after many failures.
func (r *inTime) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	release, quotaErr := r.Retryer.GetRetryToken(ctx, err)
	if quotaErr != nil {
		return nil, err
	}
	return release, nil
}

// GetAttemptToken waits for the retryer's turn, if it has turns.
func (r *inTime) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	if turns, ok := r.Retryer.(aws.RetryerV2); ok {
		return turns.GetAttemptToken(ctx)
	}
	return r.GetInitialToken(), nil
}
