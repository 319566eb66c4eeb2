package rest

import (
	"encoding/json"
	"strconv"
	"strings"
)

// GitHub counts a GraphQL query by what it may have to fetch: one request for each
// connection (a field with first or last), times the number of nodes of every
// connection around it. A hundred such requests are one point
// (https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api).

const (
	// nodesPerPoint is how many requests make one point.
	nodesPerPoint = 100
	// maxPoints is the most that a query counts. GitHub refuses larger ones.
	maxPoints = 5000
	// maxSteps limits the work on one query, because fragments can be nested.
	maxSteps = 1 << 16
	maxDepth = 64
)

// points returns the cost of a GraphQL request's body, at least 1. A malformed query
// also costs 1, because GitHub refuses it.
func points(body []byte) int {
	var request struct {
		Query     string                     `json:"query"`
		Variables map[string]json.RawMessage `json:"variables"`
	}
	if json.Unmarshal(body, &request) != nil {
		return 1
	}
	q := &query{tokens: tokens(request.Query), variables: request.Variables, fragments: map[string][]selection{}}
	operations := q.document()
	most := 0
	for _, operation := range operations {
		most = max(most, q.requests(operation, 1, 0))
	}
	return min(max(1, (most+nodesPerPoint/2)/nodesPerPoint), maxPoints)
}

// A query is a query while it is parsed.
type query struct {
	tokens    []string
	variables map[string]json.RawMessage
	fragments map[string][]selection
	steps     int
}

// A selection is a field, an inline fragment or the spread of a fragment.
type selection struct {
	nodes  int    // of a connection; 0 for other fields
	spread string // the name of a fragment
	below  []selection
}

func (q *query) peek() string {
	if len(q.tokens) == 0 {
		return ""
	}
	return q.tokens[0]
}

func (q *query) next() string {
	token := q.peek()
	if token != "" {
		q.tokens = q.tokens[1:]
	}
	return token
}

// document parses everything, and returns the operations.
func (q *query) document() (operations [][]selection) {
	for q.peek() != "" {
		name, isFragment := "", q.peek() == "fragment"
		if isFragment {
			q.next()
			name = q.peek()
		}
		for token := q.peek(); token != "" && token != "{"; token = q.peek() {
			if q.next() == "(" {
				q.arguments()
			}
		}
		set := q.set(0)
		if isFragment {
			q.fragments[name] = set
		} else {
			operations = append(operations, set)
		}
	}
	return operations
}

// set parses a selection set, if one follows.
func (q *query) set(depth int) (set []selection) {
	if q.peek() != "{" {
		return nil
	}
	q.next()
	for token := q.peek(); token != "" && token != "}"; token = q.peek() {
		if depth > maxDepth {
			q.next()
			continue
		}
		set = append(set, q.selection(depth))
	}
	q.next()
	return set
}

func (q *query) selection(depth int) (s selection) {
	if q.next() == "..." {
		if name := q.peek(); name != "on" && name != "{" && name != "@" {
			s.spread = q.next()
		}
	}
	for {
		switch token := q.peek(); token {
		case "(":
			q.next()
			s.nodes = max(s.nodes, q.arguments())
		case "{":
			s.below = q.set(depth + 1)
			return s
		case ":", "@", "on": // an alias, a directive or a type: a name follows
			q.next()
			q.next()
		default:
			return s
		}
	}
}

// arguments parses what follows "(", up to its ")". It returns the value of first or
// last; 0 if there is neither.
func (q *query) arguments() (nodes int) {
	for depth := 1; depth > 0; {
		switch token := q.next(); token {
		case "":
			return nodes
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case "first", "last":
			if depth == 1 && q.peek() == ":" {
				q.next()
				nodes = max(nodes, q.number())
			}
		}
	}
	return nodes
}

// number parses the value of first or last. An unknown value counts as 100, the most
// that GitHub allows.
func (q *query) number() int {
	text := q.next()
	if text == "$" {
		text = string(q.variables[q.next()])
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > nodesPerPoint {
		return nodesPerPoint
	}
	return n
}

// requests counts what a selection set may fetch, times the number of nodes around it.
func (q *query) requests(set []selection, around, depth int) (n int) {
	for _, s := range set {
		if q.steps++; q.steps > maxSteps || depth > maxDepth || n > maxPoints*nodesPerPoint {
			return maxPoints * nodesPerPoint
		}
		inside := around
		if s.nodes > 0 {
			n += around
			inside = min(around*s.nodes, maxPoints*nodesPerPoint)
		}
		n += q.requests(s.below, inside, depth+1)
		if s.spread != "" {
			n += q.requests(q.fragments[s.spread], inside, depth+1)
		}
	}
	return n
}

// tokens splits a document into names, numbers, "..." and single characters. It drops
// comments, commas and strings.
func tokens(text string) (list []string) {
	for text != "" {
		n := 1
		switch c := text[0]; {
		case strings.HasPrefix(text, `"""`):
			n = endOf(text, 3, `"""`)
		case c == '"':
			n = endOf(text, 1, `"`)
		case c == '#':
			n = len(text)
			if i := strings.IndexAny(text, "\r\n"); i >= 0 {
				n = i
			}
		case strings.HasPrefix(text, "..."):
			n = 3
			list = append(list, "...")
		case isWord(c):
			for n < len(text) && isWord(text[n]) {
				n++
			}
			list = append(list, text[:n])
		case strings.IndexByte("{}()[]:$@", c) >= 0:
			list = append(list, text[:1])
		}
		text = text[n:]
	}
	return list
}

// endOf returns where the string ends that starts with quotes.
func endOf(text string, from int, quotes string) int {
	for i := from; i < len(text); i++ {
		if text[i] == '\\' {
			i++
		} else if strings.HasPrefix(text[i:], quotes) {
			return i + len(quotes)
		}
	}
	return len(text)
}

func isWord(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
