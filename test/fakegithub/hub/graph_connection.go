package hub

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// connection returns a list that is read page by page, as in GitHub's GraphQL API. It
// answers nodes only if the query says how many.
func connection(kind string, all func() []entity) lazy {
	return func(args object) (any, *failure) {
		items := all()
		from, to := span(args, len(items))
		nodes := lazy(func(object) (any, *failure) {
			if f := bounded(args); f != nil {
				return nil, f
			}
			return append([]entity{}, items[from:to]...), nil
		})
		edges := lazy(func(object) (any, *failure) {
			if f := bounded(args); f != nil {
				return nil, f
			}
			out := []entity{}
			for i := from; i < to; i++ {
				out = append(out, entity{strings.TrimSuffix(kind, "Connection") + "Edge", object{"node": items[i], "cursor": cursor(i)}})
			}
			return out, nil
		})
		return entity{kind, object{"totalCount": len(items), "nodes": nodes, "edges": edges, "pageInfo": pageInfo(from, to, len(items))}}, nil
	}
}

const maxNodes = 100

func bounded(args object) *failure {
	for _, key := range []string{"first", "last"} {
		n, is := number(args, key)
		switch {
		case is && (n < 0 || n > maxNodes):
			f := fail(0, "Requesting %d records on the connection exceeds the `%s` limit of %d records.", n, key, maxNodes)
			f.kind = "EXCESSIVE_PAGINATION"
			return f
		case is:
			return nil
		}
	}
	f := fail(0, "You must provide a `first` or `last` value to properly paginate the connection.")
	f.kind = "MISSING_PAGINATION_BOUNDARIES"
	return f
}

// span returns the range of n items that a query requests.
func span(args object, n int) (from, to int) {
	to = n
	if at, is := position(text(args, "after")); is {
		from = min(at+1, n)
	}
	if at, is := position(text(args, "before")); is {
		to = max(from, min(at, n))
	}
	if first, is := number(args, "first"); is {
		to = min(to, from+max(first, 0))
	}
	if last, is := number(args, "last"); is {
		from = max(from, to-max(last, 0))
	}
	return from, to
}

func cursor(i int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "cursor:v2:%d", i))
}

func position(text string) (int, bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return 0, false
	}
	var i int
	_, err = fmt.Sscanf(string(raw), "cursor:v2:%d", &i)
	return i, err == nil
}

func pageInfo(from, to, n int) entity {
	out := object{"hasNextPage": to < n, "hasPreviousPage": from > 0, "startCursor": nil, "endCursor": nil}
	if from < to {
		out["startCursor"], out["endCursor"] = cursor(from), cursor(to-1)
	}
	return entity{"PageInfo", out}
}

// empty returns an empty connection, for lists that the hub does not model.
func empty(kind string) lazy { return connection(kind, func() []entity { return nil }) }
