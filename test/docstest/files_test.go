package docstest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// exampleFiles are the files of examples, by their names.
func exampleFiles(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(root + "/examples/*.yaml")
	if err != nil || len(paths) < 5 {
		t.Fatalf("examples = %v, %v", paths, err)
	}
	all := map[string]string{}
	for _, p := range paths {
		all[filepath.Base(p)] = read(t, "examples/"+filepath.Base(p))
	}
	return all
}

// TestExampleFilesKeepToTheirSchema: an editor that reads their first line finds no fault.
func TestExampleFilesKeepToTheirSchema(t *testing.T) {
	for name, text := range exampleFiles(t) {
		first, _, _ := strings.Cut(text, "\n")
		schema, ok := strings.CutPrefix(first, "# yaml-language-server: $schema=")
		if !ok {
			t.Errorf("examples/%s does not begin with its schema", name)
			continue
		}
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, path.Join("examples", schema))))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource("schema.json", document); err != nil {
			t.Fatal(err)
		}
		compiled, err := c.Compile("schema.json")
		if err != nil {
			t.Fatal(err)
		}
		plain, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(value); err != nil {
			t.Errorf("examples/%s: %v", name, err)
		}
	}
}

// TestExampleFilesAreChecked: gatepass check finds no fault in them, and warns of nothing.
func TestExampleFilesAreChecked(t *testing.T) {
	dir := t.TempDir()
	args := []string{"check", "--json"}
	for name, text := range exampleFiles(t) {
		file := filepath.Join(dir, name)
		write(t, file, strings.ReplaceAll(text, "/etc/gatepass", dir))
		args = append(args, file)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(programs(t), "gatepass"), args...).Output()
	var found []struct {
		File, Problem string
		OK            bool
		Warnings      []string
	}
	if err != nil || json.Unmarshal(out, &found) != nil || len(found) != len(args)-2 {
		t.Errorf("gatepass check: %v\n%s", err, out)
	}
	for _, f := range found {
		if !f.OK || len(f.Warnings) > 0 {
			t.Errorf("%s: %s %q", filepath.Base(f.File), f.Problem, f.Warnings)
		}
	}
}

// TestExampleFilesAreNamed: the page of the examples has each of them.
func TestExampleFilesAreNamed(t *testing.T) {
	entries, err := os.ReadDir(root + "/examples")
	if err != nil {
		t.Fatal(err)
	}
	page := read(t, "examples/README.md")
	for _, e := range entries {
		if name := e.Name(); name != "README.md" && !strings.Contains(page, "("+name) {
			t.Errorf("examples/README.md does not name %s", name)
		}
	}
}

var (
	fileThenName = regexp.MustCompile("\\]\\(([\\w/.-]+\\.go)\\)[,:] `(\\w+)`")
	nameThenFile = regexp.MustCompile("`(\\w+)`[\\w ]* in \\[[^\\]]*\\]\\(([\\w/.-]+\\.go)\\)")
)

// "How to add" says where in the code; the names there are in the files.
func TestContributingNamesWhatIsInTheFiles(t *testing.T) {
	_, prose := blocks(read(t, "CONTRIBUTING.md"))
	var places [][2]string // file and name
	for _, m := range fileThenName.FindAllStringSubmatch(prose, -1) {
		places = append(places, [2]string{m[1], m[2]})
	}
	for _, m := range nameThenFile.FindAllStringSubmatch(prose, -1) {
		places = append(places, [2]string{m[2], m[1]})
	}
	for _, place := range places {
		if !regexp.MustCompile(`\b` + place[1] + `\b`).MatchString(read(t, place[0])) {
			t.Errorf("CONTRIBUTING.md says that %s is in %s, which does not have it", place[1], place[0])
		}
	}
	if len(places) < 8 {
		t.Errorf("%d names are found, want all of them: %q", len(places), places)
	}
}
