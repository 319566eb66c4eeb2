package rest

import (
	"encoding/json"
	"strings"
	"testing"
)

// The first one is the example in GitHub's documentation.
func TestPoints(t *testing.T) {
	for _, c := range []struct {
		name, query, variables string
		want                   int
	}{
		{"labels of issues of repositories", `query { viewer { login repositories(first: 100) { edges { node { id issues(first: 50) { edges { node { id labels(first: 60) { edges { node { id name } } } } } } } } } } }`, `{}`, 51},
		{"no connection", `{ repository(owner: "acme", name: "first: 100 {") { name } }`, `{}`, 1},
		{"by variables", `query Q($n: Int = 5, $m: Int!) { a: search(query: "x", type: ISSUE, first: $n) { nodes { ... on Issue { comments(last: $m) { nodes { reactions(first: 1) { totalCount } } } } } } }`, `{"n": 100, "m": 100}`, 101},
		{"a variable that is not there", `query { a(first: $n) { b(first: 50) { c(first: 2) { d } } } }`, `{}`, 51},
		{"by fragments", `query { repository { ...R } } fragment R on Repository @x(y: 1) { issues(first: 100) { nodes { ...I } } } fragment I on Issue { labels(first: 100) { nodes { comments(first: 1) { nodes { id } } } } }`, `{}`, 101},
		{"the larger operation", `query A { a } query B { a(first: 100) { b(first: 100) { c(first: 1) { d } } } }`, `{}`, 101},
		{"with comments and strings", "{ a(first: 100, filter: {first: 3}) { # b(first: 100) {\n b(first: 10, s: \"\"\"\\\"\"\" ( first: 9\"\"\") { c(first: 1) { d } } } }", `{}`, 11},
		{"more than there can be", `{ a(first: 100) { a(first: 100) { a(first: 100) { a(first: 100) { a } } } } }`, `{}`, maxPoints},
		{"a fragment in itself", `{ ...A } fragment A on X { a(first: 2) { ...A ...A } }`, `{}`, maxPoints},
		{"no query", `}}}((({{{ first : `, `{}`, 1},
		{"nothing", ``, `{}`, 1},
	} {
		body, err := json.Marshal(map[string]any{"query": c.query, "variables": json.RawMessage(c.variables)})
		if err != nil {
			t.Fatal(err)
		}
		if got := points(body); got != c.want {
			t.Errorf("%s: %d points, want %d", c.name, got, c.want)
		}
	}
	if got := points([]byte("no JSON")); got != 1 {
		t.Errorf("no JSON: %d points, want 1", got)
	}
}

func FuzzPoints(f *testing.F) {
	f.Add(`{ a(first: 100) { ...F } } fragment F on X { b }`)
	f.Add(strings.Repeat("{a", 1000))
	f.Fuzz(func(t *testing.T, text string) {
		body, err := json.Marshal(map[string]string{"query": text})
		if err != nil {
			t.Fatal(err)
		}
		if got := points(body); got < 1 || got > maxPoints {
			t.Errorf("%q: %d points", text, got)
		}
	})
}
