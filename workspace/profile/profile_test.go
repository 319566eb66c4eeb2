package profile

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/hooks/refs"
)

const whole = `apiVersion: gatepass.dev/v1
kind: Profile
metadata: {name: my-profile}
spec:
  sourceAccess:
    github:
      allowedRepos: [my-user/my-repo, "my-org/*", "my-org/api-*"]
      allowedRefs: [main, "release/*", {ref: "agent/**", allow: [create, force]}]
      permissions: [clone, push, comment]
`

func TestParseReadsEveryKey(t *testing.T) {
	p, err := Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	var repositories []string
	for _, pattern := range p.Repositories {
		repositories = append(repositories, pattern.String())
	}
	if want := []string{"my-user/my-repo", "my-org/*", "my-org/api-*"}; p.Name != "my-profile" || !slices.Equal(repositories, want) {
		t.Errorf("profile %s for %q, want my-profile for %q", p.Name, repositories, want)
	}
	if len(p.Refs) != 3 || p.Refs[0].Ref != "main" || !slices.Equal(p.Refs[2].Allow, []refs.Verb{"create", "force"}) {
		t.Errorf("Refs = %v, want the three", p.Refs)
	}
	if want := map[string]string{"contents": "write", "issues": "write"}; !maps.Equal(p.Permissions.Levels(), want) {
		t.Errorf("Permissions = %v, want %v", p.Permissions.Levels(), want)
	}
}

// spec returns a profile that has only what is below github.
func spec(github string) string {
	return "spec:\n  sourceAccess:\n    github:\n" + github
}

func TestParsePermissions(t *testing.T) {
	for _, c := range []struct {
		name, github string
		want         map[string]string
	}{
		{"a mapping is kept open", "      allowedRepos: [a/b]\n      permissions: {contents: read, brand_new: admin}\n", map[string]string{"contents": "read", "brand_new": "admin"}},
		{"verbs", "      allowedRepos: [a/b]\n      permissions: [fetch, actions]\n", map[string]string{"contents": "read", "actions": "write"}},
		{"none and nothing to push", "      allowedRepos: [a/b]\n", map[string]string{"contents": "read"}},
		// The first system's profiles have no permissions.
		{"none and refs to push", "      allowedRepos: [a/b]\n      allowedRefs: [main]\n", map[string]string{"contents": "write"}},
	} {
		p, err := Parse([]byte(spec(c.github)))
		if err != nil || !maps.Equal(p.Permissions.Levels(), c.want) {
			t.Errorf("%s: permissions = %v, %v, want %v", c.name, p, err, c.want)
		}
	}
}

func TestParseWithoutRepositoriesGivesNoAccess(t *testing.T) {
	for _, text := range []string{
		"spec:\n", "spec: {}\n", "spec: {sourceAccess: {}}\n", "spec: {sourceAccess: {github: {}}}\n",
		spec("      allowedRepos: []\n"), spec("      allowedRepos:\n      permissions: [push]\n"), spec("      allowedRefs: [main]\n"),
	} {
		if p, err := Parse([]byte(text)); err != nil || p.HasAccess() {
			t.Errorf("Parse(%q) = %+v, %v, want a profile without access", text, p, err)
		}
	}
}

func TestParseSaysWhatIsWrongAndWhere(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "it is empty"},
		{"no spec", "kind: Profile\napiVersion: gatepass.dev/v1\n", "line 1 column 1: spec is missing"},
		{"two documents", "spec: {}\n---\nspec: {}\n", "more than one"},
		{"no mapping", "- spec\n", "line 1 column 1: a profile must be a mapping"},
		{"another version", "apiVersion: gatepass.dev/v2\nkind: Profile\nspec: {}\n", `line 1 column 13: apiVersion must be gatepass.dev/v1 here, not "gatepass.dev/v2"`},
		{"half an envelope", "kind: Profile\nspec: {}\n", "line 1 column 1: apiVersion and kind must be given together or not at all"},
		{"a bad name", "metadata: {name: ../x}\nspec: {}\n", `line 1 column 18: "../x" is not a name`},
		{"an unknown key at the top", "specs: {}\nspec: {}\n", `line 1 column 1: unknown key "specs" in a profile: did you mean "spec"?`},
		{"an unknown key below", spec("      allowedRepo: [a/b]\n"), `line 4 column 7: unknown key "allowedRepo" in github: did you mean "allowedRepos"?`},
		{"a repeated key", spec("      allowedRepos: [a/b]\n      allowedRepos: [a/c]\n"), "line 5 column 7: allowedRepos is given twice, first on line 4"},
		{"a merge key", "x: &x {spec: {}}\n<<: *x\n", `unknown key "<<"`},
		{"repositories that are no list", spec("      allowedRepos: a/b\n"), "line 4 column 21: allowedRepos must be a list"},
		{"a bad pattern", spec("      allowedRepos: [a/b, a/*b]\n"), `line 4 column 27: repository pattern "a/*b"`},
		{"a null entry", spec("      allowedRepos:\n        -\n"), "line 5 column 10: a repository pattern must be a string"},
		{"a repository twice", spec("      allowedRepos: [a/b, A/B]\n"), "line 4 column 27: A/B is given twice, first on line 4"},
		{"everything and more", spec("      allowedRepos: [a/b, '*']\n"), "line 4 column 27: * matches every repository, so the other entries have no effect; remove * or the other entries"},
		{"a bad glob", spec("      allowedRefs: ['[ab']\n"), "line 4 column 21: ref pattern \"[ab\""},
		{"a bad verb of a ref", spec("      allowedRefs: [{ref: main, allow: [psh]}]\n"), `line 4 column 41: unknown verb "psh"`},
		{"a ref twice", spec("      allowedRefs: [main, refs/heads/main]\n"), "line 4 column 27: ref refs/heads/main is given twice"},
		{"a ref that contradicts", spec("      allowedRefs: [main, {ref: main, allow: [delete]}]\n"), "contradicts line 4, which allows create, update and not delete"},
		{"no permissions", spec("      permissions: []\n"), "line 4 column 20: permissions must be a list of verbs or a mapping"},
		{"no optional permissions", spec("      optionalPermissions: []\n"), "line 4 column 28: optionalPermissions must be a list of verbs or a mapping such as {contents: write}, and not empty; leave it out for none"},
		{"a bad optional level", spec("      optionalPermissions: {checks: all}\n"), "line 4 column 29: permission checks has the level"},
		{"null permissions", spec("      permissions:\n"), "permissions must be a list of verbs or a mapping"},
		{"an unknown verb", spec("      permissions: [push, psuh]\n"), `line 4 column 27: unknown permission verb "psuh"`},
		{"a verb twice", spec("      permissions: [push, push]\n"), "line 4 column 27: push is given twice"},
		{"a permission twice", spec("      permissions: {contents: read, contents: write}\n"), "line 4 column 37: contents is given twice"},
		{"a bad level", spec("      permissions: {contents: none}\n"), "line 4 column 21: permission contents has the level"},
		{"no YAML", "spec: [\n", "line 1"},
	} {
		p, err := Parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Parse = %v, %v, want an error of one line with %q", c.name, p, err, c.want)
		}
	}
}

func TestParseReportsEverythingAtOnce(t *testing.T) {
	_, err := Parse([]byte("knd: x\n" + spec("      permissions: [psuh]\n      allowedRefs: [a b]\n      allowedRepos: [a, b]\n")))
	problems, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("Parse = %v, want Problems", err)
	}
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	if want := []int{1, 5, 6, 7, 7}; !slices.Equal(lines, want) {
		t.Errorf("problems are in lines %v, want %v: %v", lines, want, err)
	}
}

func TestParseWarns(t *testing.T) {
	p, err := Parse([]byte(spec("      allowedRepos: [a/b]\n      allowedRefs: [main]\n      permissions: [clone]\n")))
	if err != nil || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "do not include push") {
		t.Errorf("Parse = %+v, %v, want a warning that nothing can be pushed", p, err)
	}
}

func TestParseVerify(t *testing.T) {
	for _, c := range []struct{ github, verify, warning, err string }{
		{"      allowedRefs: [main]\n", "", "", ""},
		{"      allowedRefs: [main]\n      verify: ancestry\n", "ancestry", "", ""},
		{"      allowedRefs: [{ref: a, allow: [create, update, delete]}]\n      verify: ancestry\n", "ancestry", "from being deleted and created again, which has the effect of a forced push; remove delete", ""},
		{"      allowedRefs: [{ref: a, allow: [create, update, delete, force]}]\n      verify: ancestry\n", "ancestry", "", ""},
		{"      verify: Ancestry\n", "", "", `line 5 column 15: verify must be ancestry or left out, not "Ancestry"`},
		{"      verify: none\n", "", "", "verify must be ancestry or left out"},
		{"      verify:\n", "", "", "a way to verify pushes must be a string that is not empty"},
		{"      verify: [ancestry]\n", "", "", "a way to verify pushes must be a string that is not empty"},
	} {
		p, err := Parse([]byte(spec("      allowedRepos: [a/b]\n" + c.github)))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("Parse(%q) = %v, want %q", c.github, err, c.err)
			}
			continue
		}
		if err != nil || string(p.Verify) != c.verify || !strings.Contains(strings.Join(p.Warnings, " "), c.warning) || (len(p.Warnings) > 0) != (c.warning != "") {
			t.Errorf("Parse(%q) = %+v, %v, want verify %q and warning %q", c.github, p, err, c.verify, c.warning)
		}
	}
}

func TestLoadNamesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if p, err := Load(path); err == nil || !strings.Contains(err.Error(), path) || strings.Count(err.Error(), path) != 1 {
		t.Errorf("Load of nothing = %v, %v, want an error that names it once", p, err)
	}
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := Load(path); err != nil || p.Path != path {
		t.Errorf("Load = %+v, %v, want it with its path", p, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		whole, spec("      allowedRepos: ['*']\n"), "spec: &a [*a]\n", "a: &a {b: *a}\n", "spec: {sourceAccess: {github: {permissions: {? [x] : y}}}}\n",
		"? {a: b}\n: c\n", "spec: !!binary aGk=\n", sandbox, sandboxOf("&a {github: *a}"), "%YAML 1.1\n---\nspec: {}\n", "\ufeffspec: {}\n", "spec: {sourceAccess: {github: {allowedRefs: [~, {ref: }]}}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\x1b\r") {
				t.Errorf("the error %q is not escaped", err)
			}
			return
		}
		if _, err := refs.Compile(p.Refs); err != nil {
			t.Errorf("Parse takes refs that do not compile: %v", err)
		}
		if err := p.Permissions.Validate(); p.HasAccess() && err != nil {
			t.Errorf("Parse takes permissions that cannot be minted: %v", err)
		}
	})
}
