package reference

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	brokerconfig "github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/workspace/profile"
)

var update = flag.Bool("update", false, "write docs/reference anew")

const root = "../../.."

// TestPagesAndSchemasAreCurrent compares them with the source; go test
// ./cmd/internal/reference -update writes them.
func TestPagesAndSchemasAreCurrent(t *testing.T) {
	for _, f := range Files() {
		schema, err := f.Schema()
		if err != nil {
			t.Fatal(err)
		}
		current(t, f.Name+".schema.json", string(schema))
		current(t, f.Name+".md", f.Page())
	}
	metrics, err := metricsPage(root)
	if err != nil {
		t.Fatal(err)
	}
	current(t, "metrics.md", metrics)
	current(t, "environment.md", environmentPage())
}

// TestTheCommandLineIsCurrent needs the programs: make build, and GATEPASS_TEST_BIN_DIR.
func TestTheCommandLineIsCurrent(t *testing.T) {
	folder := os.Getenv("GATEPASS_TEST_BIN_DIR")
	if folder == "" {
		t.Skip("missing: the programs (make test sets GATEPASS_TEST_BIN_DIR)")
	}
	page, err := programsPage(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	current(t, "cli.md", page)
}

// current compares a file of docs/reference with want, or writes it.
func current(t *testing.T, name, want string) {
	t.Helper()
	path := filepath.Join(root, "docs/reference", name)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s is not what the program says (%v): make build generate", name, err)
	}
}

// parse parses a file as the programs do.
func parse(f File, text []byte) error {
	switch f.Name {
	case "workspace":
		_, err := config.Parse(text)
		return err
	case "profile":
		_, err := profile.Parse(text)
		return err
	}
	_, err := brokerconfig.Parse(text)
	return err
}

var known = regexp.MustCompile(`unknown key "zzzzzzzz"[^;]*; known are (.*?)(?:$|, line | / line )`)

// TestKeysAreThoseOfTheParsers asks the parsers which keys they know, in each mapping.
func TestKeysAreThoseOfTheParsers(t *testing.T) {
	// For these mappings the parsers report an unknown key in other words, or refuse it
	// with a reason of its own.
	const claim, operator = "callers[].claims.NAME", "operators[].claims.NAME"
	for _, f := range Files() {
		for _, g := range f.Groups() {
			if g.Path == claim || g.Path == operator {
				continue
			}
			text, err := json.Marshal(withUnknown(g.Path))
			if err != nil {
				t.Fatal(err)
			}
			err = parse(f, text)
			if err == nil {
				t.Errorf("%s: %s is read", f.Name, text)
				continue
			}
			said := known.FindStringSubmatch(err.Error())
			if said == nil {
				t.Errorf("%s: of %s: %v", f.Name, text, err)
				continue
			}
			var names []string
			for _, k := range g.Keys {
				names = append(names, k.Name)
			}
			if g.Path == "operators[]" {
				names = append(names, "workspace", "profile", "tokens") // known, and refused
			}
			slices.Sort(names)
			if want := strings.Join(names, ", "); said[1] != want {
				t.Errorf("%s %q: the program knows %s; this package has %s", f.Name, g.Path, said[1], want)
			}
		}
	}
}

// withUnknown returns a document with an unknown key in the mapping at the path.
func withUnknown(path string) any {
	var made any = map[string]any{"zzzzzzzz": 1}
	if path == "" {
		return made
	}
	parts := strings.Split(path, ".")
	for _, part := range slices.Backward(parts) {
		name, isList := strings.CutSuffix(part, "[]")
		if isList {
			made = []any{made}
		}
		made = map[string]any{name: made}
	}
	return made
}

func compile(t *testing.T, f File) *jsonschema.Schema {
	t.Helper()
	text, err := f.Schema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate checks YAML against a schema, as an editor does.
func validate(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return err
	}
	plain, err := json.Marshal(v)
	if err != nil {
		return err
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// TestSchemasTakeWhatTheParsersTake checks that the schemas refuse no good file, which
// would be worse than having none.
func TestSchemasTakeWhatTheParsersTake(t *testing.T) {
	for _, f := range Files() {
		schema := compile(t, f)
		if err := parse(f, []byte(f.Example)); err != nil {
			t.Errorf("the example of %s: %v", f.Name, err)
		}
		seen := 0
		for where, text := range corpus(t) {
			if kind(text) != f.Name || parse(f, text) != nil {
				continue
			}
			seen++
			if err := validate(t, schema, text); err != nil {
				t.Errorf("%s: the program reads it, and the schema refuses it: %v\n%s", where, err, text)
			}
		}
		if err := validate(t, schema, []byte(f.Example)); err != nil {
			t.Errorf("the example of %s: %v", f.Name, err)
		}
		if seen < 5 {
			t.Errorf("%d files of the kind %s were found, want some", seen, f.Name)
		}
	}
}

var block = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// corpus returns every YAML block of the documentation and every YAML file of the
// tests' scripts.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"README.md", "docs/*.md", "testdata/script/*.txtar", "cmd/gatepass/testdata/*.txtar", "deploy/systemd/*.yaml"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range yamlIn(path, data) {
				all[path+"#"+string(rune('a'+i))] = text
			}
		}
	}
	return all
}

var member = regexp.MustCompile(`(?ms)^-- \S+\.yaml --\n(.*?)(?:^-- |\z)`)

func yamlIn(path string, data []byte) (found [][]byte) {
	find := block
	switch filepath.Ext(path) {
	case ".yaml":
		return [][]byte{data}
	case ".txtar":
		find = member
	}
	for _, m := range find.FindAllSubmatch(data, -1) {
		text := m[1]
		if find == member {
			text = []byte(os.Expand(string(text), inScript))
		}
		found = append(found, text)
	}
	return found
}

// inScript returns a value for a variable that scripts use in their files.
func inScript(name string) string {
	switch name {
	case "STORE":
		return "file:///store"
	case "BROKER", "SOURCE":
		return "broker+unix:///run/broker.sock"
	case "GITHUB", "HTTPS":
		return "127.0.0.1:8443"
	}
	return "/" + strings.ToLower(name)
}

// kind tells by its keys which file a text is, as gatepass check does.
func kind(text []byte) string {
	var keys map[string]any
	if yaml.Unmarshal(text, &keys) != nil {
		return ""
	}
	for _, name := range []string{"spec", "kind", "metadata"} {
		if _, ok := keys[name]; ok {
			return "profile"
		}
	}
	if keys["listen"] != nil && keys["audit"] != nil {
		return "broker" // others are parts of one
	}
	for _, name := range []string{"hosts", "refs", "source"} {
		if _, ok := keys[name]; ok {
			return "workspace"
		}
	}
	return ""
}

// TestSchemasRefuse checks that a file of the wrong form is refused: an editor shows
// that before a program does.
func TestSchemasRefuse(t *testing.T) {
	for _, f := range Files() {
		schema := compile(t, f)
		for what, text := range map[string]map[string]string{
			"workspace": {
				"an unknown key": "hots: [github.com]\n", "a text for a list": "hosts: github.com\n", "another cache": "cache: disk\n",
				"not a verb": "refs: [{ref: main, allow: [push]}]\n", "a ref without its pattern": "refs: [{allow: [create]}]\n",
				"a truth in words": "strict: very\n", "an id with a slash": "workspace: a/b\n", "an author without an address": "author: me\n",
			},
			"profile": {
				"an unknown key":        "spec: {sourceAccess: {github: {allowedRepo: [a/b]}}}\n",
				"not a verb":            "spec: {sourceAccess: {github: {permissions: [clon]}}}\n",
				"not a level":           "spec: {sourceAccess: {github: {permissions: {contents: all}}}}\n",
				"another version":       "apiVersion: gatepass.dev/v2\nkind: Profile\nspec: {}\n",
				"a way to share":        "spec: {sourceAccess: {github: {sharing: everyone}}}\n",
				"a text for a list":     "spec: {sourceAccess: {github: {allowedRepos: a/b}}}\n",
				"a name with a blank":   "metadata: {name: a b}\nspec: {}\n",
				"verify of another way": "spec: {sourceAccess: {github: {verify: hope}}}\n",
			},
			"broker": {
				"an unknown key":         "listen: unix:///s\naudit: /a\ncalers: []\n",
				"no listener":            "audit: /a\n",
				"not a listener":         "listen: 8443\naudit: /a\n",
				"an unknown key of oidc": "listen: unix:///s\naudit: /a\ncallers: [{oidc: {issuer: https://i, audience: a, audiences: [b]}, workspace: w, profile: p}]\n",
				"a duration of words":    "listen: unix:///s\naudit: /a\nlimits: {read_timeout: soon}\n",
				"tokens of another kind": "listen: unix:///s\naudit: /a\ncallers: [{socket: {}, workspace: w, profile: p, tokens: all}]\n",
			},
		}[f.Name] {
			if err := validate(t, schema, []byte(text)); err == nil {
				t.Errorf("%s: %s: the schema takes %q", f.Name, what, text)
			}
		}
	}
}
