// Package dynamodb stores the entries of the issuing side in one AWS DynamoDB table:
//
//	dynamodb://TABLE[?region=…][&endpoint=…][&profile=…]
//
// Each entry is an item. Reads are consistent, writes are conditional where necessary,
// and no call uses a transaction. An index that contains only items with a due time
// finds the due ones. A write or a delete destroys the earlier value, because a table
// for gatepass has neither point-in-time recovery nor a stream
// (deploy/aws/dynamodb.yaml).
//
// This package has no source for workspaces: they ask a broker, or read Parameter Store
// if the store's URL says tokens=ssm:///….
package dynamodb

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	smithy "github.com/aws/smithy-go/middleware"
	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// A Store stores every entry as an item of a table. It is a [store.Ledger], a
// [store.Swapper], a [store.Pager] and a [store.Indexed].
type Store struct {
	table  string
	client awsclient.Lazy[services]
	ahead  atomic.Int64 // how far this machine's clock is ahead of AWS's, in nanoseconds
}

var _ interface {
	store.Store
	store.Ledger
	store.Swapper
	store.Indexed
	store.Pager
} = (*Store)(nil)

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	op, err := s.on(name, "read", "dynamodb:GetItem")
	if err != nil {
		return store.Entry{}, err
	}
	input := &sdk.GetItemInput{TableName: aws.String(s.table), Key: keyOf(name.String()), ConsistentRead: aws.Bool(true)}
	out, err := callService(ctx, s, op, func(ctx context.Context, c *sdk.Client, inTime func(*sdk.Options)) (*sdk.GetItemOutput, error) {
		return c.GetItem(ctx, input, inTime)
	})
	if err != nil {
		return store.Entry{}, err
	}
	s.learn(out.ResultMetadata)
	if len(out.Item) == 0 {
		return store.Entry{}, op.failed("", store.ErrNotFound)
	}
	entry, err := decode(out.Item)
	if err != nil {
		return store.Entry{}, op.failed("", err)
	}
	return entry, nil
}

// Put implements [store.Store].
func (s *Store) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	return s.PutDue(ctx, name, value, mode, time.Time{})
}

// PutDue implements [store.Indexed]. A zero due means never.
func (s *Store) PutDue(ctx context.Context, name store.Name, value store.Secret, mode store.Mode, due time.Time) error {
	op, err := s.on(name, "write", "dynamodb:PutItem")
	if err != nil {
		return err
	}
	var only condition
	if mode == store.CreateOnly {
		only = isAbsent()
	}
	_, err = s.write(ctx, op, name, value, due, only)
	if errors.Is(err, errCondition) {
		return op.failed("", store.ErrExists)
	}
	return err
}

// Swap implements [store.Swapper].
func (s *Store) Swap(ctx context.Context, name store.Name, value store.Secret, version string, due time.Time) (string, error) {
	op, err := s.on(name, "write", "dynamodb:PutItem")
	if err != nil {
		return "", err
	}
	only := isAbsent()
	if version != "" {
		only = hasVersion(version)
	}
	now, err := s.write(ctx, op, name, value, due, only)
	if errors.Is(err, errCondition) {
		return "", op.failed("", store.ErrChanged)
	}
	return now, err
}

// A condition is checked by DynamoDB at the moment of a write. The zero condition
// always holds.
type condition struct {
	expression string
	names      map[string]string
	values     item
}

func isAbsent() condition {
	return condition{expression: "attribute_not_exists(#entry)", names: map[string]string{"#entry": attrEntry}}
}

func hasVersion(version string) condition {
	return condition{"#version = :version", map[string]string{"#version": attrVersion}, item{":version": text(version)}}
}

// errCondition reports that a condition does not hold. Nothing was written.
var errCondition = errors.New("the condition failed")

// write writes an entry's item and returns its version. If an answer is lost, the SDK
// repeats the call; the version shows whether an existing item was written by the first
// attempt.
func (s *Store) write(ctx context.Context, op operation, name store.Name, value store.Secret, due time.Time, only condition) (version string, err error) {
	if err := value.Check(); err != nil {
		return "", usererr.Wrap(op.what, err, "")
	}
	version = rand.Text()
	input := &sdk.PutItemInput{TableName: aws.String(s.table), Item: encode(name, value, version, s.now(), due)}
	if only.expression != "" {
		input.ConditionExpression = aws.String(only.expression)
		input.ExpressionAttributeNames, input.ExpressionAttributeValues = only.names, only.values
		input.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}
	holds := true
	out, err := callService(ctx, s, op, func(ctx context.Context, c *sdk.Client, inTime func(*sdk.Options)) (*sdk.PutItemOutput, error) {
		out, err := c.PutItem(ctx, input, inTime)
		if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
			holds = textOf(failed.Item, attrVersion) == version
			return &sdk.PutItemOutput{}, nil
		}
		return out, err
	})
	if err != nil {
		return "", err
	}
	s.learn(out.ResultMetadata)
	if !holds {
		return "", errCondition
	}
	return version, nil
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, name store.Name) error {
	op, err := s.on(name, "delete", "dynamodb:DeleteItem")
	if err != nil {
		return err
	}
	input := &sdk.DeleteItemInput{TableName: aws.String(s.table), Key: keyOf(name.String())}
	_, err = callService(ctx, s, op, func(ctx context.Context, c *sdk.Client, inTime func(*sdk.Options)) (*sdk.DeleteItemOutput, error) {
		return c.DeleteItem(ctx, input, inTime)
	})
	return err
}

// now returns the time by AWS's clock, as learned from its answers.
func (s *Store) now() time.Time { return time.Now().Add(-time.Duration(s.ahead.Load())) }

// learn records the clock of the server that answered.
func (s *Store) learn(m smithy.Metadata) {
	if theirs, ok := middleware.GetServerTime(m); ok {
		s.ahead.Store(int64(clock.Ahead(theirs, time.Now())))
	}
}

const storeForm = "write dynamodb://TABLE?region=REGION"

// OpenStore returns the store of a URL:
//
//	dynamodb://TABLE[?region=…][&endpoint=…][&profile=…]
//
// AWS is first contacted by the first call. The table must exist: see
// deploy/aws/dynamodb.yaml.
func OpenStore(u *url.URL) (*Store, error) {
	what := "store dynamodb://" + u.Host
	switch {
	case u.Scheme != "dynamodb":
		return nil, usererr.New("store", "its scheme is not dynamodb", storeForm)
	case u.Opaque != "" || u.User != nil || !isTable(u.Host):
		return nil, usererr.New(what, "a table's name must have 3 to 255 letters, digits, dots, hyphens and underscores", storeForm)
	case strings.TrimSuffix(u.Path, "/") != "":
		return nil, usererr.New(what, "the URL must not have a path: a store uses the whole table", storeForm)
	case u.Fragment != "":
		return nil, usererr.New(what, "it has a fragment", storeForm)
	}
	settings, err := awsclient.ParseSettings(what, u.RawQuery)
	if err != nil {
		return nil, err
	}
	return &Store{table: u.Host, client: awsclient.Lazy[services]{Settings: settings, Make: newServices}}, nil
}

// isTable implements the rule of CreateTable in the DynamoDB API reference.
func isTable(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; !awsclient.IsAlnum(c) && strings.IndexByte("_.-", c) < 0 {
			return false
		}
	}
	return 3 <= len(name) && len(name) <= 255
}

// services are two clients of one table. After a throttle, the calls of one client
// queue. With two clients, the thousands of calls about workspaces do not delay those
// about the block list.
type services struct{ workspaces, others *sdk.Client }

func newServices(cfg aws.Config, endpoint string) services {
	return services{newService(cfg, endpoint), newService(cfg, endpoint)}
}

func newService(cfg aws.Config, endpoint string) *sdk.Client {
	return sdk.NewFromConfig(cfg, func(o *sdk.Options) {
		o.Retryer = awsclient.NewAdaptiveRetryer(cfg.RetryMaxAttempts)
		// use one host name, whatever the credentials, for firewall rules and VPC
		// endpoints
		o.AccountIDEndpointMode = aws.AccountIDEndpointModeDisabled
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
}
