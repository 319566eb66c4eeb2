package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// graph asks a question and returns the data and the errors.
func (w *world) graph(token, query string) (object, []graphError) {
	w.t.Helper()
	in, err := json.Marshal(object{"query": query})
	w.must(err)
	got := w.want(w.do("POST", "/api/graphql", token, string(in)), 200)
	var out struct {
		Data   object
		Errors []graphError
	}
	w.must(json.Unmarshal(got.raw, &out))
	return out.Data, out.Errors
}

func TestGraphQLAnswersAsGitHubDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.repository("hidden")
	_, err := w.h.AddIssue("acme", "widgets", "acme", "It squeaks", "one", "two", "three")
	w.must(err)
	all := w.token(everything, "widgets")
	reads := w.token(map[string]string{"contents": "read"}, "widgets")
	const widgets = `{ repository(owner: "acme", name: "widgets") { %s } }`
	for _, test := range []struct {
		name, token, query string
		data, kind, text   string // data is a part of it as JSON; kind and text are of the error
	}{
		{"a repository", all, fmt.Sprintf(widgets, "nameWithOwner viewerPermission"), `{"nameWithOwner":"acme/widgets","viewerPermission":"ADMIN"}`, "", ""},
		{"one that the token does not reach", all, `{ repository(owner: "acme", name: "hidden") { id } }`, `{"repository":null}`, "NOT_FOUND", "Could not resolve to a Repository with the name 'acme/hidden'."},
		{"one that is not there", all, `{ repository(owner: "acme", name: "none") { id } }`, `{"repository":null}`, "NOT_FOUND", "Could not resolve to a Repository with the name 'acme/none'."},
		{"issues", all, fmt.Sprintf(widgets, "issues(first: 1) { nodes { title comments(last: 1) { nodes { body } } } }"), `{"nodes":[{"comments":{"nodes":[{"body":"three"}]},"title":"It squeaks"}]}`, "", ""},
		{"issues without the permission", reads, fmt.Sprintf(widgets, "issues(first: 1) { totalCount }"), "", "FORBIDDEN", notForApps},
		{"pull requests without the permission", reads, fmt.Sprintf(widgets, "pullRequests(first: 1) { totalCount }"), "", "FORBIDDEN", notForApps},
		{"no bounds", all, fmt.Sprintf(widgets, "issues { nodes { title } }"), "", "MISSING_PAGINATION_BOUNDARIES", "You must provide a `first` or `last` value to properly paginate the connection."},
		{"too many", all, fmt.Sprintf(widgets, "issues(first: 101) { nodes { title } }"), "", "EXCESSIVE_PAGINATION", "Requesting 101 records on the connection exceeds the `first` limit of 100 records."},
		{"a count needs no bounds", all, fmt.Sprintf(widgets, "issues { totalCount }"), `{"totalCount":1}`, "", ""},
		{"the viewer", all, `{ viewer { login __typename } }`, `{"__typename":"User","login":"gatepass[bot]"}`, "", ""},
		{"a field that is not in the schema", all, `{ viewer { password } }`, "", "", `Cannot query field "password" on type "User".`},
		{"an enum's values", all, `{ __type(name: "IssueState") { kind enumValues { name } } }`, `{"enumValues":[{"name":"CLOSED"},{"name":"OPEN"}],"kind":"ENUM"}`, "", ""},
		{"three types", all, `{ a: __type(name: "User") { name } b: __type(name: "Bot") { name } c: __type(name: "Ref") { name } }`, "", "UNPROCESSABLE", "Introspection of more than two types in a query is not supported"},
		{"a file", all, fmt.Sprintf(widgets, `object(expression: "main:README.md") { ... on Blob { text } }`), `{"text":"# widgets"}`, "", ""},
		{"an issue that is not there", all, fmt.Sprintf(widgets, "issue(number: 9) { title }"), "", "NOT_FOUND", "Could not resolve to a Issue with the number of 9."},
		{"a stale commit", all, `mutation { createCommitOnBranch(input: {branch: {repositoryNameWithOwner: "acme/widgets", branchName: "main"}, expectedHeadOid: "0000000000000000000000000000000000000001", message: {headline: "x"}}) { clientMutationId } }`, `{"createCommitOnBranch":null}`, "STALE_DATA", "Expected branch to point to"},
	} {
		data, errs := w.graph(test.token, test.query)
		raw, err := json.Marshal(data)
		w.must(err)
		if !strings.Contains(string(raw), test.data) {
			t.Errorf("%s: data is %s, want %s in it", test.name, raw, test.data)
		}
		switch {
		case test.text == "" && len(errs) > 0, test.text != "" && len(errs) != 1:
			t.Errorf("%s: errors are %+v, want %q", test.name, errs, test.text)
		case test.text != "" && (errs[0].Type != test.kind || !strings.HasPrefix(errs[0].Message, test.text)):
			t.Errorf("%s: the error is %+v, want %s %s", test.name, errs[0], test.kind, test.text)
		}
	}
}

func TestGraphQLIsForApps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const query = `{"query":"{ viewer { login } }"}`
	token := w.token(everything)
	w.want(w.do("POST", "/api/graphql", "", query), 401)
	w.want(w.do("POST", "/api/graphql", "ghs_nothing", query), 401)
	w.want(w.do("POST", "/graphql", token, query), 200)
	w.want(w.do("POST", "/api/v3/graphql", token, query), 404)
	if got := w.want(w.do("POST", "/graphql", token, `{"query":"{"}`), 200).object(t); got["errors"] == nil || got["data"] != nil {
		t.Errorf("a query that does not parse is answered %v", got)
	}
}

func TestIntrospectionDescribesEveryType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token(everything)
	data, errs := w.graph(token, `{ __schema { types { name kind fields(includeDeprecated: true) { name type { name kind ofType { name kind } } args { name } } } } }`)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	types, _ := data["__schema"].(object)["types"].([]any)
	if len(types) != len(w.h.schema.Types) {
		t.Errorf("__schema has %d types, want %d", len(types), len(w.h.schema.Types))
	}
}
