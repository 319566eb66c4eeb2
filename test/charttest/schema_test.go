package charttest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// decode returns YAML or JSON as JSON knows it.
func decode(t *testing.T, text string) any {
	t.Helper()
	data, err := yaml.ToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	if err := c.AddResource("values.schema.json", decode(t, read(t, chart+"/values.schema.json"))); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheSchemaTakesTheValues(t *testing.T) {
	s := schema(t)
	for _, text := range []string{read(t, chart+"/values.yaml"), "{}"} {
		if err := s.Validate(decode(t, text)); err != nil {
			t.Error(err)
		}
	}
	for name, path := range valueSets(t) {
		if name == "default" {
			continue // comments only
		}
		if err := s.Validate(decode(t, read(t, path))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// free are the values that Kubernetes or the broker checks, and global, which Helm adds
// for charts that include this one.
var free = []string{"global", "operator.resources", "operator.affinity", "broker.resources", "broker.affinity", "broker.config", "broker.profiles"}

// Each key of values.yaml has an entry in the schema, and the other way round; and a
// mistyped key is refused wherever it is.
func TestTheSchemaKnowsEveryKey(t *testing.T) {
	var s map[string]any
	if err := json.Unmarshal([]byte(read(t, chart+"/values.schema.json")), &s); err != nil {
		t.Fatal(err)
	}
	compareKeys(t, s, s, parse(t, read(t, chart+"/values.yaml"))[0], "")
}

func compareKeys(t *testing.T, whole, node map[string]any, values fields, path string) {
	t.Helper()
	if node["additionalProperties"] != false {
		t.Errorf("the schema takes mistyped keys of %q", path)
	}
	properties, _ := node["properties"].(map[string]any)
	for key := range values {
		if properties[key] == nil {
			t.Errorf("the schema has no %s%s", path, key)
		}
	}
	for key, raw := range properties {
		below := raw.(map[string]any)
		if ref, ok := below["$ref"].(string); ok {
			below = whole["definitions"].(map[string]any)[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
		}
		value, isThere := values[key]
		if !isThere && key != "global" {
			t.Errorf("values.yaml has no %s%s", path, key)
		}
		isMap := below["propertyNames"] != nil || below["additionalProperties"] != nil && below["properties"] == nil
		if below["type"] != "object" || isMap || slices.Contains(free, path+key) {
			continue
		}
		nested, _ := value.(fields)
		compareKeys(t, whole, below, nested, path+key+".")
	}
}

// Each row is a mistake that a person makes, and where the schema sees it.
func TestTheSchemaRefuses(t *testing.T) {
	s := schema(t)
	for _, row := range []struct{ values, at string }{
		{"operator: {replica: 2}", "/operator"},
		{"operater: {}", "operater"},
		{"tenancy: {namespaces: flux-system}", "/tenancy/namespaces"},
		{"tenancy: {permissions: {contents: all}}", "/tenancy/permissions/contents"},
		{"tenancy: {permissions: {Contents: read}}", "/tenancy/permissions"},
		{"webhook: {failurePolicy: fail}", "/webhook/failurePolicy"},
		{"webhook: {port: \"10250\"}", "/webhook/port"},
		{"metrics: {secure: \"yes\"}", "/metrics/secure"},
		{"watch: {namespaces: [a, a]}", "/watch/namespaces"},
		{"githubURL: \"http://ghe.example\"", "/githubURL"},
		{"config: {app_id: \"12\"}", "/config/app_id"},
		{"operator: {image: {digest: latest}}", "/operator/image/digest"},
		{"operator: {podLabels: {a: true}}", "/operator/podLabels/a"},
		{"broker: {storage: {sise: 1Gi}}", "/broker/storage"},
		{"broker: {profiles: {\"../x\": {}}}", "/broker/profiles"},
	} {
		if err := s.Validate(decode(t, row.values)); err == nil || !strings.Contains(err.Error(), row.at) {
			t.Errorf("%s: %v, want a refusal of %s", row.values, err, row.at)
		}
	}
}
