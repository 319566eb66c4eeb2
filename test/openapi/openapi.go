// Package openapi checks JSON in tests against GitHub's published description of its
// REST API.
package openapi

import (
	"bytes"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A Contract is a part of the description, made strict: no object may have a key that
// is not in the description.
type Contract struct{ compiler *jsonschema.Compiler }

// Load reads the schemas in an OpenAPI 3.0 file.
func Load(t *testing.T, path string) Contract {
	t.Helper()
	raw, err := os.ReadFile(path)
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
	return Contract{c}
}

// fromOpenAPI turns OpenAPI 3.0's nullable into JSON Schema, and closes every object
// except the parts of an allOf, because each part sees the keys of the others.
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
	for _, choice := range []string{"anyOf", "oneOf"} {
		if options, is := n[choice].([]any); is {
			n[choice] = append(options, map[string]any{"type": "null"})
		}
	}
}

// Validate returns how raw deviates from the named schema.
func (c Contract) Validate(t *testing.T, schema string, raw []byte) error {
	t.Helper()
	s, err := c.compiler.Compile("github.json#/components/schemas/" + schema)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return s.Validate(v)
}
