package ssmstore

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// standardSize is the longest value of a parameter that is free of charge, in bytes
// (https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html).
const standardSize = 4096

// A Store keeps every entry below a prefix, as a SecureString. A ledger record holds no
// secret and is a String, so that all records are found by their type without a call to
// KMS. So is the block list's version, which every broker reads once a second.
//
// Parameter Store has no check-and-set: of two concurrent writes with Replace, the
// later one stays. AWS itself decides CreateOnly.
type Store struct {
	prefix     string // "/km", or "" for the root
	workspaces string // the same for entries of workspaces
	kmsKey     string // may contain {workspace}; empty means the account's own key for SSM
	makesKeys  bool   // kmsKey is an alias for keys that gatepass creates
	client     awsclient.Lazy[*ssm.Client]
	reads      priorityGate
	writes     priorityGate
	singly     atomic.Bool // the identity may not delete several parameters with one call
}

// MakesKeys reports whether the store's URL has create: in its kms_key, which is then
// an alias with {workspace}. The caller must create the keys; this package does not.
func (s *Store) MakesKeys() bool { return s.makesKeys }

// KeyOf returns the KMS key that encrypts an entry, as in the store's URL; "" for the
// account's own key and for entries that are not encrypted.
func (s *Store) KeyOf(name store.Name) string {
	if typeOf(name) != types.ParameterTypeSecureString {
		return ""
	}
	return s.keyFor(name)
}

// Settings returns the AWS settings of the store's URL.
func (s *Store) Settings() awsclient.Settings { return s.client.Settings }

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	full := s.full(name)
	var out *ssm.GetParameterOutput
	err := s.call(ctx, storeReading(full), name.IsZero(), func(ctx context.Context, c *storeClient) (err error) {
		options, end := s.reads.begin(ctx)
		defer end()
		out, err = read(ctx, c, full, options)
		return err
	})
	if err != nil {
		return store.Entry{}, err
	}
	if out.Parameter == nil || out.Parameter.Value == nil {
		return store.Entry{}, usererr.New(storeReading(full).what, "the answer has no value", "check the endpoint that the store or AWS_ENDPOINT_URL names")
	}
	return store.Entry{Value: store.NewSecret(*out.Parameter.Value), Modified: aws.ToTime(out.Parameter.LastModifiedDate)}, nil
}

// Put implements [store.Store]. It repeats an attempt whose answer was lost, although
// AWS may have carried it out; with CreateOnly it may then return [store.ErrExists] for
// an entry that it wrote itself.
func (s *Store) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	full := s.full(name)
	op := operation{"write SSM parameter " + full, "ssm:PutParameter", "kms:Encrypt"}
	if err := value.Check(); err != nil {
		return usererr.Wrap(op.what, err, "")
	}
	input := &ssm.PutParameterInput{
		Name: aws.String(full), Value: aws.String(value.Reveal()), Type: typeOf(name),
		Overwrite: aws.Bool(mode == store.Replace),
	}
	if key := s.KeyOf(name); key != "" {
		input.KeyId = aws.String(key)
	}
	if len(value.Reveal()) > standardSize {
		input.Tier = types.ParameterTierAdvanced
	}
	return s.call(ctx, op, name.IsZero(), func(ctx context.Context, c *storeClient) error {
		options, end := s.writes.begin(ctx)
		defer end()
		_, err := c.Service.PutParameter(ctx, input, options)
		if isAdvanced(err) && input.Tier == "" {
			input.Tier = types.ParameterTierAdvanced
			_, err = c.Service.PutParameter(ctx, input, options)
		}
		return err
	})
}

func typeOf(name store.Name) types.ParameterType {
	if name.IsRecord() || name == store.BlocksVersion() {
		return types.ParameterTypeString
	}
	return types.ParameterTypeSecureString
}

// isAdvanced reports whether AWS refused to write a short value to a parameter that
// once held a long one: a parameter cannot return to the standard tier.
func isAdvanced(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == "ValidationException" && strings.Contains(strings.ToLower(api.ErrorMessage()), "advanced")
}

// keyFor returns the KMS key of an entry. A key per workspace is only for entries of
// that workspace.
func (s *Store) keyFor(name store.Name) string {
	if !strings.Contains(s.kmsKey, workspacePlace) {
		return s.kmsKey
	}
	id, ok := name.Workspace()
	if !ok || s.makesKeys && !name.IsSecret() {
		return "" // a lock is written before the key exists, even for a workspace that does not exist
	}
	return strings.ReplaceAll(s.kmsKey, workspacePlace, id)
}

// ARN asks AWS for the ARN of an entry's parameter. It returns an error that wraps
// [store.ErrNotFound] if there is none.
func (s *Store) ARN(ctx context.Context, name store.Name) (string, error) {
	p, err := s.describe(ctx, name)
	return aws.ToString(p.ARN), err
}

// IsEncrypted reports whether AWS encrypts an entry's parameter. It returns an error
// that wraps [store.ErrNotFound] if there is none.
func (s *Store) IsEncrypted(ctx context.Context, name store.Name) (bool, error) {
	p, err := s.describe(ctx, name)
	return p.Type == types.ParameterTypeSecureString, err
}

// describe reads an entry's parameter without decrypting it.
func (s *Store) describe(ctx context.Context, name store.Name) (p types.Parameter, err error) {
	full := s.full(name)
	err = s.call(ctx, storeReading(full), name.IsZero(), func(ctx context.Context, c *storeClient) error {
		out, err := c.Service.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(full)}, within(ctx))
		if err == nil && out.Parameter != nil {
			p = *out.Parameter
		}
		return err
	})
	return p, err
}

// call makes one call to AWS. A caller without a deadline gets a default one.
func (s *Store) call(ctx context.Context, op operation, nameless bool, ask func(context.Context, *storeClient) error) error {
	if nameless {
		return usererr.New(op.what, "it has no name", "")
	}
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	c, err := s.client.Client(ctx)
	if err != nil {
		return op.call("").Unconfigured(ctx, err)
	}
	if err = c.Authenticate(ctx); err == nil {
		err = ask(ctx, c)
	}
	if err == nil {
		return nil
	}
	s.client.Failed(c, err)
	return op.call(c.Region).Failed(ctx, err)
}

// storeClient is the AWS client of the calls.
type storeClient = awsclient.Client[*ssm.Client]

func storeReading(name string) operation {
	return operation{what(name), "ssm:GetParameter", "kms:Decrypt"}
}

// within keeps the retries of one call within its deadline.
func within(ctx context.Context) func(*ssm.Options) {
	return func(o *ssm.Options) { o.Retryer = awsclient.InTime(ctx, o.Retryer) }
}
