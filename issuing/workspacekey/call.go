package workspacekey

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

var errDenied = errors.New("access denied")

// An operation is one KMS call: in words, and as an IAM action.
type operation struct{ what, action string }

func (op operation) in(region string) awsclient.Call {
	return awsclient.Call{What: op.what, Service: "KMS", Region: region, Explain: func(api smithy.APIError) error {
		switch code := api.ErrorCode(); {
		case strings.HasPrefix(code, "AccessDenied"):
			return &usererr.Error{Op: op.what, Reason: "access denied" + awsclient.Excerpt(api), Hint: "allow " + op.action + " for this identity", Err: errDenied}
		case code == "NotFoundException":
			return &usererr.Error{Op: op.what, Reason: "it does not exist in " + region, Err: store.ErrNotFound}
		case code == "AlreadyExistsException":
			return &usererr.Error{Op: op.what, Reason: "it exists in " + region + " already", Err: store.ErrExists}
		}
		return nil
	}}
}

// call makes one call, with a timeout.
func call[Out any](ctx context.Context, l *awsclient.Lazy[*kms.Client], op operation, do func(context.Context, *kms.Client) (Out, error)) (Out, error) {
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

// once disables retries: a retried CreateKey whose answer was lost would make another
// key. The next run finds the first one.
func once(o *kms.Options) { o.Retryer = aws.NopRetryer{} }

// inTime limits the retries of a call to its deadline.
func inTime(ctx context.Context) func(*kms.Options) {
	return func(o *kms.Options) { o.Retryer = awsclient.InTime(ctx, o.Retryer) }
}
