package dynamodb

import (
	"cmp"
	"context"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"

	"github.com/gatepass/gatepass/store"
)

// Page implements [store.Pager]. Where names are spread over partitions, each is asked for
// its share of the page and a few more, at the same time.
func (s *Store) Page(ctx context.Context, below store.Prefix, after store.Name, limit int) ([]store.Name, error) {
	op := s.below(below, "list", "dynamodb:Query")
	if first, last := span(below, after); limit < 1 || first > last {
		return nil, nil
	}
	shards, _ := shardsBelow(below)
	var cursors []*cursor
	for _, shard := range shards {
		q := s.inShard(shard, below, after)
		namesOnly(q)
		q.Limit = aws.Int32(share(limit, len(shards)))
		cursors = append(cursors, &cursor{query: q})
	}
	var names []store.Name
	for it, err := range s.merged(ctx, op, cursors, byName) {
		if err != nil {
			return nil, err
		}
		if name, ours := nameOf(it); ours {
			names = append(names, name)
		}
		if len(names) == limit {
			break
		}
	}
	return names, nil
}

// share is how many items one of n partitions is asked for, so that limit of all are
// mostly found with one call each. DynamoDB charges for what it reads.
func share(limit, n int) int32 {
	const most = 1000
	if n > 1 {
		limit = limit/n + limit/(4*n) + 4
	}
	return int32(min(limit, most))
}

func byName(a, b item) int { return cmp.Compare(textOf(a, attrEntry), textOf(b, attrEntry)) }

// A cursor goes through one partition in order.
type cursor struct {
	query *sdk.QueryInput
	items []item // read and not taken yet
	over  bool   // whether the last page was read
}

// merged yields the items of all cursors, the lowest first. An error ends it.
func (s *Store) merged(ctx context.Context, op operation, cursors []*cursor, compare func(a, b item) int) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		for {
			if err := s.fill(ctx, op, cursors); err != nil {
				yield(nil, err)
				return
			}
			var lowest *cursor
			for _, c := range cursors {
				if len(c.items) > 0 && (lowest == nil || compare(c.items[0], lowest.items[0]) < 0) {
					lowest = c
				}
			}
			if lowest == nil {
				return
			}
			it := lowest.items[0]
			lowest.items = lowest.items[1:]
			if !yield(it, nil) {
				return
			}
		}
	}
}

// fill reads on for each cursor that has no item, until it has one or is over.
func (s *Store) fill(ctx context.Context, op operation, cursors []*cursor) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range cursors {
		if len(c.items) > 0 || c.over {
			continue
		}
		group.Go(func() error {
			for len(c.items) == 0 && !c.over {
				out, err := s.query(ctx, op, c.query)
				if err != nil {
					return err
				}
				c.items, c.query.ExclusiveStartKey = out.Items, out.LastEvaluatedKey
				c.over = len(out.LastEvaluatedKey) == 0
			}
			return nil
		})
	}
	return group.Wait()
}
