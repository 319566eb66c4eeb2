package fakegithub

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A contract is GitHub's published description of its answers, made strict: no
// answer may have a key the description does not know.
type contract struct{ compiler *jsonschema.Compiler }

func loadContract(t *testing.T) contract {
	t.Helper()
	raw, err := os.ReadFile("testdata/openapi/schemas.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	fromOpenAPI(doc, true)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("github.json", doc); err != nil {
		t.Fatal(err)
	}
	return contract{c}
}

// fromOpenAPI turns OpenAPI 3.0's nullable into JSON Schema, and closes every
// object but the parts of an allOf, each of which sees the keys of the others.
func fromOpenAPI(node any, closing bool) {
	switch n := node.(type) {
	case []any:
		for _, v := range n {
			fromOpenAPI(v, closing)
		}
	case map[string]any:
		for k, v := range n {
			fromOpenAPI(v, k != "allOf")
		}
		if n["nullable"] == true {
			makeNullable(n)
		}
		if _, described := n["properties"].(map[string]any); described && closing && n["additionalProperties"] == nil {
			n["additionalProperties"] = false
		}
	}
}

func makeNullable(n map[string]any) {
	if kind, is := n["type"].(string); is {
		n["type"] = []any{kind, "null"}
	}
	if values, is := n["enum"].([]any); is {
		n["enum"] = append(values, nil)
	}
	if options, is := n["anyOf"].([]any); is {
		n["anyOf"] = append(options, map[string]any{"type": "null"})
	}
}

func (c contract) check(t *testing.T, schema string, raw []byte) {
	t.Helper()
	s, err := c.compiler.Compile("github.json#/components/schemas/" + schema)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%v", err)
	}
}

func TestAnswersMatchGitHubsDescription(t *testing.T) {
	c := loadContract(t)
	w := newWorld(t, Options{})
	suspended, err := w.gh.AddInstallation(Installation{AppID: w.app.ID, Account: "octocat", AccountType: User, Suspended: true})
	w.must(err)
	token := w.token(nil)
	mint := fmt.Sprintf("/app/installations/%d/access_tokens", w.inst.ID)
	for _, test := range []struct {
		method, path, bearer, body string
		schema                     string
		status                     int
	}{
		{"GET", "/app", w.jwt(), "", "integration", 200},
		{"GET", "/app/installations", w.jwt(), "", "x-app-installations", 200},
		{"GET", fmt.Sprintf("/app/installations/%d", w.inst.ID), w.jwt(), "", "installation", 200},
		{"GET", fmt.Sprintf("/app/installations/%d", suspended.ID), w.jwt(), "", "installation", 200},
		{"GET", "/orgs/acme/installation", w.jwt(), "", "installation", 200},
		{"GET", "/users/octocat/installation", w.jwt(), "", "installation", 200},
		{"GET", "/repos/acme/widgets/installation", w.jwt(), "", "installation", 200},
		{"POST", mint, w.jwt(), "", "installation-token", 201},
		{"POST", mint, w.jwt(), `{"repositories":["widgets"],"permissions":{"contents":"read"}}`, "installation-token", 201},
		{"GET", "/installation/repositories", token, "", "x-installation-repositories", 200},
		{"GET", "/repos/acme/widgets", token, "", "full-repository", 200},
		{"GET", "/repos/acme/site", "", "", "full-repository", 200},
		{"GET", "/rate_limit", token, "", "rate-limit-overview", 200},
		{"GET", "/app", "", "", "basic-error", 401},
		{"GET", "/repos/acme/widgets", "", "", "basic-error", 404},
		{"GET", "/installation/repositories", "bad", "", "basic-error", 401},
		{"POST", mint, w.jwt(), `{"repositories":["other"]}`, "basic-error", 422},
		{"POST", fmt.Sprintf("/app/installations/%d/access_tokens", suspended.ID), w.jwt(), "", "basic-error", 403},
	} {
		for _, prefix := range []string{"", "/api/v3"} {
			t.Run(test.method+" "+prefix+test.path, func(t *testing.T) {
				got := w.rest(test.method, prefix+test.path, test.bearer, test.body)
				if got.status != test.status {
					t.Fatalf("status = %d, want %d: %s", got.status, test.status, got.raw)
				}
				c.check(t, test.schema, got.raw)
			})
		}
	}
}
