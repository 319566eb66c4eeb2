package dynamodb

import (
	"context"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// An operation describes what a store does, and the permission that it needs.
type operation struct {
	table, what, action string
	onWorkspaces        bool // whether it concerns workspaces, alone or with others
}

// on returns an operation on one entry. It returns an error for the zero Name.
func (s *Store) on(name store.Name, verb, action string) (operation, error) {
	_, onWorkspaces := name.Workspace()
	op := operation{s.table, verb + " " + name.String() + " of dynamodb://" + s.table, action, onWorkspaces}
	if name.IsZero() {
		return op, usererr.New(verb+" an entry of dynamodb://"+s.table, "it has no name", "")
	}
	return op, nil
}

// below returns an operation on all entries below a prefix.
func (s *Store) below(prefix store.Prefix, verb, action string) operation {
	folder := prefix.String()
	if folder == "" {
		folder = "everything"
	}
	shards, _ := shardsBelow(prefix)
	onWorkspaces := !slices.Equal(shards, []string{configShard}) && !slices.Equal(shards, []string{otherShard})
	return operation{s.table, verb + " " + folder + " of dynamodb://" + s.table, action, onWorkspaces}
}

func (op operation) failed(why string, err error) error {
	return &usererr.Error{Op: op.what, Reason: why, Err: err}
}

// call returns the operation as an AWS call.
func (op operation) call(region string) awsclient.Call {
	return awsclient.Call{What: op.what, Service: "DynamoDB", Region: region, Explain: func(api smithy.APIError) error {
		switch code := api.ErrorCode(); {
		case strings.HasPrefix(code, "AccessDenied"):
			return usererr.New(op.what, "access denied"+awsclient.Excerpt(api), "allow "+op.action+" on the table and its index for this identity, as in deploy/aws/dynamodb.yaml")
		case code == "ResourceNotFoundException":
			return usererr.New(op.what, "there is no table "+op.table+" in "+region, "create it with deploy/aws/dynamodb.yaml, or correct table and region in the store's URL")
		case code == "InaccessibleEncryptionCredentials":
			return usererr.New(op.what, "the table's KMS key cannot be used"+awsclient.Excerpt(api), "check that the key exists and is enabled")
		}
		return nil
	}}
}

// callService makes one call to DynamoDB, with a default timeout if ctx has no deadline. The
// option keeps the call's retries within the deadline.
func callService[T any](ctx context.Context, s *Store, op operation, call func(context.Context, *sdk.Client, func(*sdk.Options)) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, awsclient.MaxWait)
	defer cancel()
	var none T
	c, err := s.client.Client(ctx)
	if err != nil {
		return none, op.call("").Unconfigured(ctx, err)
	}
	out := none
	if err = c.Authenticate(ctx); err == nil {
		service := c.Service.others
		if op.onWorkspaces {
			service = c.Service.workspaces
		}
		out, err = call(ctx, service, func(o *sdk.Options) { o.Retryer = awsclient.InTime(ctx, o.Retryer) })
	}
	if err == nil {
		return out, nil
	}
	s.client.Failed(c, err)
	return none, op.call(c.Region).Failed(ctx, err)
}
