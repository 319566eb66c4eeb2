package v1_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// differences are the fields of the second system that ours do not have as they are,
// each with the reason.
var differences = map[string]string{
	"status.managedSecret.basicAuth": "the type of the Secret says it",
	"spec.keyRef.key default":        "where the Secret has no private-key.pem, Flux's name for the key is read too",
}

// TestSeedFields holds that a manifest of the second system means the same here: each
// field has the same name, type and default.
func TestSeedFields(t *testing.T) {
	text, err := os.ReadFile("testdata/seed-fields.txt")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	differs := func(what string) bool {
		used[what] = differences[what] != ""
		return used[what]
	}
	for line := range strings.Lines(string(text)) {
		row := strings.Fields(line)
		if row[0] == "#" {
			continue
		}
		field := fieldOf(t, row[0], row[1])
		if field == nil {
			if !differs(row[1]) {
				t.Errorf("%s has no %s", row[0], row[1])
			}
			continue
		}
		if field["type"] != row[2] {
			t.Errorf("%s: %s is of type %v, want %s", row[0], row[1], field["type"], row[2])
		}
		var want any
		if len(row) > 3 {
			if err := yaml.Unmarshal([]byte(row[3]), &want); err != nil {
				t.Fatal(err)
			}
		}
		if field["default"] != want && !differs(row[1]+" default") {
			t.Errorf("%s: the default of %s is %v, want %v", row[0], row[1], field["default"], want)
		}
	}
	for what := range differences {
		if !used[what] {
			t.Errorf("%s does not differ", what)
		}
	}
}

// fieldOf returns the schema of a field, as in spec.secret.name, or nil. Of an open
// map it is that of the values.
func fieldOf(t *testing.T, kind, path string) fields {
	t.Helper()
	definition := readYAML(t, filepath.Join(crds, "gatepass.dev_"+strings.ToLower(kind)+"s.yaml"))
	version := definition["spec"].(fields)["versions"].([]any)[0].(fields)
	field := version["schema"].(fields)["openAPIV3Schema"].(fields)
	for name := range strings.SplitSeq(path, ".") {
		properties, _ := field["properties"].(fields)
		below, found := properties[name].(fields)
		if !found {
			below, found = field["additionalProperties"].(fields)
		}
		if !found {
			return nil
		}
		field = below
	}
	return field
}
