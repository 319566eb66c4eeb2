package profile

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// sandbox is a profile as users of the first system have them: most of it is about
// machines, networks and budgets.
const sandbox = `apiVersion: klankermaker.ai/v1alpha1
kind: SandboxProfile
metadata:
  name: my-profile
  labels: {tier: development}
  prefix: sb
spec:
  lifecycle: &life {ttl: "8h", idleTimeout: "2h", teardownPolicy: destroy}
  runtime: {substrate: ec2, spot: true, region: us-east-1}
  execution: {shell: /bin/bash, env: {GITHUB_TOKEN: none, SANDBOX_MODE: x}}
  sourceAccess:
    mode: allowlist
    github:
      allowedRepos:
        - my-user/my-repo
        - github.com/my-org/another-repo
      allowedRefs:
        - main
        - "release/*"
  network: {egress: {allowedDNSSuffixes: [".github.com"], allowedHosts: []}}
  again: *life
`

// Profiles that work with the first system are read as they are: keys that are not
// about GitHub are ignored, and one warning says so.
func TestAProfileOfTheFirstSystemIsReadAsItIs(t *testing.T) {
	p, err := Parse([]byte(sandbox))
	if err != nil {
		t.Fatal(err)
	}
	var repositories []string
	for _, pattern := range p.Repositories {
		repositories = append(repositories, pattern.String())
	}
	if want := []string{"my-user/my-repo", "my-org/another-repo"}; p.Name != "my-profile" || !slices.Equal(repositories, want) {
		t.Errorf("profile %s for %q, want my-profile for %q", p.Name, repositories, want)
	}
	if len(p.Refs) != 2 || !maps.Equal(p.Permissions.Levels(), map[string]string{"contents": "write"}) {
		t.Errorf("refs %v with %v, want two that may be pushed", p.Refs, p.Permissions.Levels())
	}
	want := "ignored, because gatepass reads only spec.sourceAccess: metadata.prefix, spec.lifecycle, spec.runtime, spec.execution, spec.network, spec.again"
	if !slices.Equal(p.Warnings, []string{want}) {
		t.Errorf("Warnings = %q, want %q", p.Warnings, want)
	}
}

// sandboxOf returns a profile of the first system with this sourceAccess.
func sandboxOf(sourceAccess string) string {
	return "apiVersion: klankermaker.ai/v1alpha1\nkind: SandboxProfile\nmetadata: {name: x}\nspec:\n  sourceAccess: " + sourceAccess + "\n"
}

// The lists beside sourceAccess.mode do not open what the mode closes.
func TestTheModeOfSourceAccessIsNotWidened(t *testing.T) {
	const lists = "github: {allowedRepos: [a/b], allowedRefs: [main]}"
	for _, c := range []struct {
		name, sourceAccess string
		access             bool
	}{
		{"no mode", "{" + lists + "}", true},
		{"allowlist", "{mode: allowlist, " + lists + "}", true},
		{"allowlist of nothing", "{mode: allowlist}", false},
		{"none", "{mode: none}", false},
		{"none beside lists", "{mode: none, " + lists + "}", false},
		{"none after lists", "{" + lists + ", mode: none}", false},
		{"an alias of none", "{mode: &m none, " + lists + "}\n  other: *m", false},
	} {
		p, err := Parse([]byte(sandboxOf(c.sourceAccess)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if p.HasAccess() != c.access || (len(p.Refs) > 0) != c.access {
			t.Errorf("%s: access to %v, pushes to %v, want access %t", c.name, p.Repositories, p.Refs, c.access)
		}
	}
}

func TestPermissionsOfTheFirstSystem(t *testing.T) {
	for text, want := range map[string]string{"[read]": "read", "[read, write]": "write", "[clone, push]": "write"} {
		p, err := Parse([]byte(sandboxOf("{github: {allowedRepos: [a/b], permissions: " + text + "}}")))
		if err != nil || p.Permissions.Levels()["contents"] != want {
			t.Errorf("permissions %s = %v, %v, want contents: %s", text, p, err, want)
		}
	}
	if p, err := Parse([]byte(spec("      permissions: [read]\n"))); err == nil {
		t.Errorf("permissions [read] of our own profile = %v, want an error", p)
	}
}

// A profile that extends another takes from it what is not written here. The other file
// is not read, and may allow less than our defaults.
func TestAProfileThatExtendsAnotherSaysAllItself(t *testing.T) {
	extends := func(sourceAccess string) string {
		return strings.Replace(sandboxOf(sourceAccess), "metadata:", "extends: hardened\nmetadata:", 1)
	}
	for _, whole := range []string{"{mode: none}", "{mode: allowlist, github: {allowedRepos: [a/b], allowedRefs: [], permissions: [read]}}"} {
		if p, err := Parse([]byte(extends(whole))); err != nil {
			t.Errorf("%s: %v, %v, want it read", whole, p, err)
		}
	}
	for part, want := range map[string]string{
		"": "mode, github.allowedRepos, github.allowedRefs, github.permissions",
		"{github: {allowedRepos: [a/b], allowedRefs: [main], permissions: [push]}}": ": mode",
		"{mode: allowlist, github: {allowedRepos: [a/b], allowedRefs: [main]}}":     "write the inherited keys in sourceAccess of this file: github.permissions",
	} {
		if p, err := Parse([]byte(extends(part))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("extends with %s = %v, %v, want an error with %q", part, p, err, want)
		}
	}
}

// The second version of the format has no permissions, and its own reader refuses a
// file with them: none can be inherited.
func TestAProfileOfTheSecondVersionInheritsNoPermissions(t *testing.T) {
	second := func(sourceAccess string) (*Profile, error) {
		text := strings.Replace(sandboxOf(sourceAccess), "metadata:", "extends: [base, hardened]\nmetadata:", 1)
		return Parse([]byte(strings.Replace(text, "v1alpha1", "v1alpha2", 1)))
	}
	if p, err := second("{mode: allowlist, github: {allowedRepos: [a/b], allowedRefs: [main]}}"); err != nil || p.Permissions.Levels()["contents"] != "write" {
		t.Errorf("a whole one = %v, %v, want it read", p, err)
	}
	if p, err := second("{mode: allowlist, github: {allowedRepos: [a/b]}}"); err == nil || !strings.HasSuffix(err.Error(), "write the inherited keys in sourceAccess of this file: github.allowedRefs") {
		t.Errorf("one without allowedRefs = %v, %v, want an error that names them", p, err)
	}
}

// Keys that are not ours are ignored, but never those that are: every form in which a
// key about GitHub could hide is an error.
func TestNothingHidesInAProfileOfTheFirstSystem(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"another kind", strings.Replace(sandbox, "SandboxProfile", "Profile", 1), "kind must be SandboxProfile here"},
		{"our kind of that version", strings.Replace(whole, "kind: Profile", "kind: SandboxProfile", 1), "kind must be Profile here"},
		{"another version", strings.Replace(sandbox, "v1alpha1", "v1", 1), `apiVersion must be gatepass.dev/v1 here, not "klankermaker.ai/v1"`},
		{"no kind", strings.Replace(sandbox, "kind: SandboxProfile\n", "", 1), "apiVersion and kind must be given together or not at all"},
		{"two documents", sandbox + "---\n" + sandbox, "more than one YAML document"},
		{"two versions", "apiVersion: klankermaker.ai/v1alpha1\n" + whole, "apiVersion is given twice"},
		{"two specs", sandbox + "spec: {}\n", "spec is given twice"},
		{"two source accesses", sandboxOf("{mode: none}\n  sourceAccess: {mode: allowlist}"), "sourceAccess is given twice"},
		{"an ignored key twice", sandboxOf("{}\n  runtime: {}\n  runtime: {}"), "runtime is given twice"},
		{"two modes", sandboxOf("{mode: none, mode: allowlist}"), "mode is given twice"},
		{"an unknown mode", sandboxOf("{mode: open}"), `unknown mode "open" of sourceAccess; known are allowlist and none`},
		{"a mode in another case", sandboxOf("{mode: None}"), `unknown mode "None"`},
		{"no text as mode", sandboxOf("{mode: [none]}"), "a mode must be a string"},
		{"an empty mode", sandboxOf("{mode: }"), "a mode must be a string"},
		{"another key of sourceAccess", sandboxOf("{gitlab: {}}"), `unknown key "gitlab" in sourceAccess`},
		{"another key of github", sandboxOf("{github: {allowedRepo: [a/b]}}"), `unknown key "allowedRepo" in github`},
		{"a key in another case", sandboxOf("{}\n  SourceAccess: {mode: none}"), `unknown key "SourceAccess" in spec`},
		{"a merge key", sandboxOf("{}\n  <<: {sourceAccess: {mode: none}}"), `unknown key "<<" in spec`},
		{"a merge key below", sandboxOf("{<<: {mode: none}}"), `unknown key "<<" in sourceAccess`},
		{"a list as key", sandboxOf("{}\n  ? [a]\n  : b"), "unknown key"},
		{"a key at the top", sandbox + "sourceAccess: {}\n", `unknown key "sourceAccess" in a profile`},
		{"another host", sandboxOf("{github: {allowedRepos: [ghe.example/a/b]}}"), "repository pattern"},
		{"no permissions", sandboxOf("{github: {allowedRepos: [a/b], permissions: []}}"), "not empty"},
		{"an alias of itself", sandboxOf("&a {github: *a}"), "unknown key"},
	} {
		p, err := Parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Parse = %v, %v, want an error of one line with %q", c.name, p, err, c.want)
		}
	}
}

// The warning about ignored keys has a bound, whatever the file.
func TestIgnoredKeysAreNamedWithinABound(t *testing.T) {
	text := sandboxOf("{mode: none}")
	for c := 'a'; c <= 'z'; c++ {
		text += "  " + strings.Repeat(string(c), 1000) + ": {}\n"
	}
	p, err := Parse([]byte(text))
	if err != nil || len(p.Warnings) != 1 || len(p.Warnings[0]) > 2000 || !strings.HasSuffix(p.Warnings[0], " and 6 more") {
		t.Errorf("Parse = %v, %v, want one short warning", p, err)
	}
}
