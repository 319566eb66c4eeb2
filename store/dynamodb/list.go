package dynamodb

import (
	"cmp"
	"context"
	"iter"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/gatepass/gatepass/store"
	"golang.org/x/sync/errgroup"
)

// List implements [store.Store]. DynamoDB also reads the values, and charges for them,
// but sends only the names. The partitions are read in parallel.
func (s *Store) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		op := s.below(below, "list", "dynamodb:Query")
		for it, err := range s.all(ctx, op, below, namesOnly) {
			name, ours := nameOf(it)
			if err == nil && !ours {
				continue
			}
			if !yield(name, err) || err != nil {
				return
			}
		}
	}
}

// Records implements [store.Ledger]. DynamoDB sends only the records.
func (s *Store) Records(ctx context.Context) iter.Seq2[store.NamedEntry, error] {
	return func(yield func(store.NamedEntry, error) bool) {
		op := s.below(store.Workspaces(), "read the ledger records in", "dynamodb:Query")
		for it, err := range s.all(ctx, op, store.Workspaces(), recordsOnly) {
			if err != nil {
				yield(store.NamedEntry{}, err)
				return
			}
			if name, ours := nameOf(it); ours && name.IsRecord() && !yield(s.named(op, name, it)) {
				return
			}
		}
	}
}

// named decodes an item into an entry, or into the error about it.
func (s *Store) named(op operation, name store.Name, it item) (store.NamedEntry, error) {
	entry, err := decode(it)
	if err != nil {
		op.what += ": " + name.String()
		err = op.failed("", err)
	}
	return store.NamedEntry{Name: name, Entry: entry}, err
}

// namesOnly makes a query return only keys.
func namesOnly(q *sdk.QueryInput) {
	q.ProjectionExpression = aws.String("#shard, #entry")
	q.ExpressionAttributeNames["#entry"] = attrEntry
}

// recordsOnly makes a query return only ledger records.
func recordsOnly(q *sdk.QueryInput) {
	q.FilterExpression = aws.String("attribute_exists(#record)")
	q.ExpressionAttributeNames["#record"] = attrRecord
}

// inShard returns a consistent query for the names of a partition below a prefix and
// after a name, in the order of names.
func (s *Store) inShard(shard string, below store.Prefix, after store.Name) *sdk.QueryInput {
	q := &sdk.QueryInput{
		TableName: aws.String(s.table), ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("#shard = :shard AND #entry BETWEEN :first AND :last"),
		ExpressionAttributeNames:  map[string]string{"#shard": attrShard, "#entry": attrEntry},
		ExpressionAttributeValues: item{":shard": text(shard)},
	}
	first, last := span(below, after)
	q.ExpressionAttributeValues[":first"], q.ExpressionAttributeValues[":last"] = text(first), text(last)
	return q
}

// span returns the bounds of the names below a prefix and after a name. Every character
// of a name sorts after the exclamation mark and before the tilde.
func span(below store.Prefix, after store.Name) (first, last string) {
	first, last = "!", "~"
	if below != store.Everything() {
		first, last = below.String()+"/", below.String()+"/~"
	}
	if !after.IsZero() {
		first = max(first, after.String()+"!")
	}
	return first, last
}

// query requests one page.
func (s *Store) query(ctx context.Context, op operation, q *sdk.QueryInput) (*sdk.QueryOutput, error) {
	return callService(ctx, s, op, func(ctx context.Context, c *sdk.Client, inTime func(*sdk.Options)) (*sdk.QueryOutput, error) {
		return c.Query(ctx, q, inTime)
	})
}

// A page is a part of a partition's items, or an error, which comes last.
type page struct {
	items []item
	err   error
}

// all yields everything below a prefix from all partitions, in no order. It ends after
// the first error.
func (s *Store) all(ctx context.Context, op operation, below store.Prefix, shape func(*sdk.QueryInput)) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		reading, cancel := context.WithCancel(ctx)
		var readers sync.WaitGroup
		defer readers.Wait()
		defer cancel()
		pages := make(chan page)
		shards, _ := shardsBelow(below)
		for _, shard := range shards {
			q := s.inShard(shard, below, store.Name{})
			shape(q)
			readers.Go(func() { s.send(reading, op, q, pages) })
		}
		go func() {
			readers.Wait()
			close(pages)
		}()
		for p := range pages {
			if p.err != nil {
				yield(nil, p.err)
				return
			}
			for _, it := range p.items {
				if !yield(it, nil) {
					return
				}
			}
		}
		if err := ctx.Err(); err != nil { // the readers end without an error if ctx ends
			yield(nil, op.call("").Failed(ctx, err))
		}
	}
}

// send sends the pages of a query up to the last one, or until ctx ends.
func (s *Store) send(ctx context.Context, op operation, q *sdk.QueryInput, pages chan<- page) {
	for {
		out, err := s.query(ctx, op, q)
		p := page{err: err}
		if err == nil {
			p.items = out.Items
		}
		select {
		case pages <- p:
		case <-ctx.Done():
			return
		}
		if err != nil || len(out.LastEvaluatedKey) == 0 {
			return
		}
		q.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// Page implements [store.Pager]. If the names are spread over partitions, each
// partition is asked in parallel for its share of the page and a few more.
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

// share returns how many items to ask of one of n partitions, so that one call each
// usually finds limit items in total. DynamoDB charges for what it reads.
func share(limit, n int) int32 {
	const most = 1000
	if n > 1 {
		limit = limit/n + limit/(4*n) + 4
	}
	return int32(min(limit, most))
}

func byName(a, b item) int { return cmp.Compare(textOf(a, attrEntry), textOf(b, attrEntry)) }

// A cursor reads one partition in order.
type cursor struct {
	query *sdk.QueryInput
	items []item // items read but not yielded yet
	over  bool   // the last page was read
}

// merged yields the items of all cursors, lowest first. It ends after an error.
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

// fill reads more for each cursor without an item, until it has one or has reached its
// end.
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
