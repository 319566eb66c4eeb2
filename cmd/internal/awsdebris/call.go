package awsdebris

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/store"
)

// An operation is one call of AWS, and what IAM calls it.
type operation struct{ what, service, action string }

func (op operation) in(region string) awsclient.Call {
	return awsclient.Call{What: op.what, Service: op.service, Region: region, Explain: func(api smithy.APIError) error {
		switch code := api.ErrorCode(); {
		case strings.HasPrefix(code, "AccessDenied"):
			return &oneline.Error{What: op.what, Why: "access denied" + awsclient.Said(api), Do: "allow " + op.action + " for this identity", Err: errDenied}
		case code == "ParameterNotFound" || code == "ResourceNotFoundException" || code == "NotFoundException":
			return &oneline.Error{What: op.what, Why: "there is none of that name in " + region, Err: store.ErrNotFound}
		case code == "UnknownOperationException" || code == "UnsupportedOperationException":
			return &oneline.Error{What: op.what, Why: op.service + " in " + region + " does not know this call (" + code + ")", Err: errUnknownCall}
		}
		return nil
	}}
}

// call makes one call, within the time that a caller without a deadline has.
func call[S, Out any](ctx context.Context, l *awsclient.Lazy[S], op operation, do func(context.Context, S) (Out, error)) (Out, error) {
	var none Out
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	c, err := l.Client(ctx)
	if err != nil {
		return none, op.in("").Unconfigured(ctx, err)
	}
	var out Out
	if err = c.Authenticate(ctx); err == nil {
		out, err = do(ctx, c.Service)
	}
	if err != nil {
		l.Failed(c, err)
		return none, op.in(c.Region).Failed(ctx, err)
	}
	return out, nil
}

// Each keeps the retries of one call within its deadline.
func inTimeSSM(ctx context.Context) func(*ssm.Options) {
	return func(o *ssm.Options) { o.Retryer = awsclient.InTime(ctx, o.Retryer) }
}

func inTimeKMS(ctx context.Context) func(*kms.Options) {
	return func(o *kms.Options) { o.Retryer = awsclient.InTime(ctx, o.Retryer) }
}

func inTimeScheduler(ctx context.Context) func(*scheduler.Options) {
	return func(o *scheduler.Options) { o.Retryer = awsclient.InTime(ctx, o.Retryer) }
}
