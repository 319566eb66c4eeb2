package dynamodb

import (
	"cmp"
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gatepass/gatepass/store"
)

// maxBatch is how many items DynamoDB reads in one call.
const maxBatch = 100

// Due implements [store.Indexed]. The index lists entries that may be due, usually
// within a second of their write. They are then read consistently, a hundred per call,
// and entries that are no longer due are left out.
func (s *Store) Due(ctx context.Context, below store.Prefix, before time.Time, limit int) iter.Seq2[store.NamedEntry, error] {
	return func(yield func(store.NamedEntry, error) bool) {
		op := s.below(below, "list due workspaces in", "dynamodb:Query and dynamodb:BatchGetItem")
		fail := func(err error) { yield(store.NamedEntry{}, err) }
		left := limit
		var batch []store.Name
		flush := func() bool {
			more, err := s.yieldDue(ctx, op, batch, before, &left, yield)
			batch = batch[:0]
			if err != nil {
				fail(err)
			}
			return more && err == nil
		}
		for it, err := range s.merged(ctx, op, s.dueCursors(below, before, limit), byDue) {
			if err != nil {
				fail(err)
				return
			}
			name, ours := nameOf(it)
			if !ours || !below.Has(name) || slices.Contains(batch, name) { // entries may be written during the read
				continue
			}
			batch = append(batch, name)
			if len(batch) < maxBatch && (limit <= 0 || len(batch) < left) {
				continue
			}
			if !flush() {
				return
			}
		}
		if len(batch) > 0 {
			flush()
		}
	}
}

// dueCursors return what the index lists as due before a time, earliest first.
func (s *Store) dueCursors(below store.Prefix, before time.Time, limit int) (cursors []*cursor) {
	_, shards := shardsBelow(below)
	for _, shard := range shards {
		q := &sdk.QueryInput{
			TableName: aws.String(s.table), IndexName: aws.String(dueIndex),
			KeyConditionExpression:    aws.String("#due_shard = :shard AND #due < :before"),
			ExpressionAttributeNames:  map[string]string{"#due_shard": attrDueShard, "#due": attrDue},
			ExpressionAttributeValues: item{":shard": text(shard), ":before": number(before.UnixMicro())},
		}
		if limit > 0 {
			q.Limit = aws.Int32(share(limit, len(shards)))
		}
		cursors = append(cursors, &cursor{query: q})
	}
	return cursors
}

func byDue(a, b item) int {
	first, _ := timeOf(a, attrDue)
	second, _ := timeOf(b, attrDue)
	return cmp.Or(first.Compare(second), byName(a, b))
}

// yieldDue reads the entries of a batch, yields those that are due, in the order of the
// batch, and counts them down. It reports whether more are wanted.
func (s *Store) yieldDue(ctx context.Context, op operation, batch []store.Name, before time.Time, left *int, yield func(store.NamedEntry, error) bool) (more bool, err error) {
	items, err := s.read(ctx, op, batch)
	if err != nil {
		return false, err
	}
	for _, name := range batch {
		it := items[name.String()]
		if due, ok := timeOf(it, attrDue); !ok || due.UnixMicro() >= before.UnixMicro() {
			continue
		}
		*left--
		if !yield(s.named(op, name, it)) || *left == 0 {
			return false, nil
		}
	}
	return true, nil
}

// read reads up to maxBatch items by name. Missing items are left out.
func (s *Store) read(ctx context.Context, op operation, names []store.Name) (map[string]item, error) {
	var keys []map[string]types.AttributeValue
	for _, name := range names {
		keys = append(keys, keyOf(name.String()))
	}
	found := map[string]item{}
	for wait := 50 * time.Millisecond; len(keys) > 0; wait = min(2*wait, time.Second) {
		input := &sdk.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{s.table: {Keys: keys, ConsistentRead: aws.Bool(true)}}}
		out, err := callService(ctx, s, op, func(ctx context.Context, c *sdk.Client, inTime func(*sdk.Options)) (*sdk.BatchGetItemOutput, error) {
			return c.BatchGetItem(ctx, input, inTime)
		})
		if err != nil {
			return nil, err
		}
		for _, it := range out.Responses[s.table] {
			found[textOf(it, attrEntry)] = it
		}
		if keys = out.UnprocessedKeys[s.table].Keys; len(keys) == 0 {
			break
		}
		select { // DynamoDB returned only a part: the table is busy, or a megabyte is full
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
			return nil, op.call("").Failed(ctx, ctx.Err())
		}
	}
	return found, nil
}
