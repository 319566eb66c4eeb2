package ssmstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/gatepass/gatepass/store"
)

// Delete implements [store.Store]. AWS deletes all versions.
func (s *Store) Delete(ctx context.Context, name store.Name) error {
	full := s.full(name)
	op := operation{"delete SSM parameter " + full, "ssm:DeleteParameter", "nothing"}
	err := s.call(ctx, op, name.IsZero(), func(ctx context.Context, c *storeClient) error {
		_, err := c.Service.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String(full)}, within(ctx))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// deleteSize is the largest number of names in one call.
const deleteSize = 10

// DeleteAll implements [store.Deleter]. If the identity may not call
// ssm:DeleteParameters, it deletes the entries one by one.
func (s *Store) DeleteAll(ctx context.Context, names []store.Name) error {
	for some := range slices.Chunk(names, deleteSize) {
		if err := s.deleteSome(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) deleteSome(ctx context.Context, names []store.Name) error {
	left := names
	if len(names) > 1 && !s.singly.Load() {
		var err error
		left, err = s.deleteAtOnce(ctx, names)
		if err != nil {
			return err
		}
	}
	for _, name := range left {
		if err := s.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// deleteAtOnce deletes up to deleteSize entries. It returns those that AWS did not
// delete; the answer does not say whether they existed.
func (s *Store) deleteAtOnce(ctx context.Context, names []store.Name) (left []store.Name, err error) {
	input := &ssm.DeleteParametersInput{}
	byFull := map[string]store.Name{}
	for _, name := range names {
		input.Names = append(input.Names, s.full(name))
		byFull[s.full(name)] = name
	}
	op := operation{fmt.Sprintf("delete %d SSM parameters", len(names)), "ssm:DeleteParameters", "nothing"}
	err = s.call(ctx, op, slices.ContainsFunc(names, store.Name.IsZero), func(ctx context.Context, c *storeClient) error {
		out, err := c.Service.DeleteParameters(ctx, input, within(ctx))
		if isDenied(err) {
			s.singly.Store(true)
			left = names
			return nil
		}
		if err == nil {
			for _, full := range out.DeletedParameters {
				delete(byFull, full)
			}
			left = slices.Collect(maps.Values(byFull))
		}
		return err
	})
	return left, err
}

func isDenied(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && strings.HasPrefix(api.ErrorCode(), "AccessDenied")
}
