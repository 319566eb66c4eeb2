package rules

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestClaimsOfYAML(t *testing.T) {
	cases, err := ParseCases([]byte(`
- given:
    method: aws
    claims: {text: "7", n: 7, big: 12345678901234567890123, f: 1.50, yes: true, none: null, list: [1, a], deep: {a/b: c}, date: 2026-01-01}
  refused: rule
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Claims{
		"text": "7", "n": json.Number("7"), "big": json.Number("12345678901234567890123"), "f": json.Number("1.50"), "yes": true, "none": nil,
		"list": []any{json.Number("1"), "a"}, "deep": map[string]any{"a/b": "c"}, "date": "2026-01-01",
	}
	if got := *cases[0].Given.Claims; !reflect.DeepEqual(got, want) || cases[0].Name != "cases[0]" {
		t.Errorf("ParseCases = %#v, want %#v", got, want)
	}
}

func TestParseCasesRefuses(t *testing.T) {
	const good = `- given: {method: socket, claims: {uid: 1}}
  asks: {repo: acme/widgets, operation: read}
  want: {workspace: a}
`
	for _, c := range []struct{ name, old, changed, want string }{
		{"nothing to say", good, "", "no cases"},
		{"an unknown key", "asks:", "ask:", `line 2: unknown key "ask"`},
		{"both outcomes", "want:", "refused: rule\n  want:", "one of want and refused"},
		{"no outcome", "  want: {workspace: a}\n", "", "one of want and refused"},
		{"an empty want", "{workspace: a}", "{}", "say one of"},
		{"a reason nobody has", "want: {workspace: a}", "refused: no", `"no" is none of host`},
		{"no method", "method: socket, ", "", "method is missing"},
		{"an issuer of a socket", "socket,", "socket, issuer: a,", "no other has"},
		{"no issuer", "method: socket", "method: oidc", "has an issuer"},
		{"a bad repository", "acme/widgets", "widgets", "want OWNER/NAME"},
		{"a bad operation", "read", "push", "want read or write"},
		{"hexadecimal", "uid: 1", "uid: 0x1", "no number of JSON"},
		{"a claim twice", "uid: 1", "uid: 1, uid: 2", "there once"},
		{"claims in a list", "{uid: 1}", "[uid]", "names with values"},
		{"no list", good, "cases: []\n", "line 1: want a list of cases"},
		{"an alias", "{uid: 1}", "{uid: &a 1, gid: *a}", "without an alias"},
		{"two documents", good, good + "---\n" + good, "more than one YAML document"},
	} {
		cases, err := ParseCases([]byte(strings.Replace(good, c.old, c.changed, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: ParseCases = %+v, %v, want one line with %q", c.name, cases, err, c.want)
		}
	}
	if _, err := ParseCases([]byte(good)); err != nil {
		t.Errorf("the good one: ParseCases = %v", err)
	}
}

// The tester tells apart all ways in which a case can end otherwise than it
// wants.
func TestTry(t *testing.T) {
	tester, err := NewTester(load(t, `  - {name: uid, socket: {uid: 1}, workspace: "a-{claim.uid}", profile: ci}
  - {oidc: {issuer: "https://i.example", audience: one}, cel: "claims.n == 7", workspace: "b-{claim.sub}", profile: ci}
  - {oidc: {issuer: "https://i.example", audience: two}, workspace: c, profile: agent}
`))
	if err != nil {
		t.Fatal(err)
	}
	const socket = "given: {method: socket, claims: {uid: 1}}"
	const token = "given: {method: oidc, issuer: https://i.example, audience: one, claims: {n: 7, sub: x}}"
	for _, c := range []struct {
		name, text string
		passed     bool
		got        string
	}{
		{"who", socket + "\n  want: {workspace: a-1, profile: ci, rule: uid}", true, "workspace a-1, profile ci, rule uid"},
		{"another workspace", socket + "\n  want: {workspace: a-2}", false, "workspace a-1"},
		{"another rule", socket + "\n  want: {rule: other}", false, "rule uid"},
		{"a token", socket + "\n  asks: {repo: Acme/Widgets, operation: write}\n  want: {profile: ci}", true, "profile ci"},
		{"no permission", socket + "\n  asks: {repo: acme/widgets, operation: read, permissions: {issues: write}}\n  refused: permission", true, "refused: permission"},
		{"another repository", socket + "\n  asks: {repo: acme/other, operation: read}\n  want: {profile: ci}", false, "refused: repository"},
		{"a host", socket + "\n  asks: {repo: acme/widgets, operation: read, host: gitlab.com}\n  refused: host", true, "refused: host"},
		{"nobody", "given: {method: socket, claims: {uid: 2}}\n  refused: rule", true, "refused: rule"},
		{"another method", "given: {method: mtls}\n  refused: identity", true, "refused: identity"},
		{"a condition", token + "\n  want: {rule: 'callers[1]', workspace: b-x}", true, "workspace b-x"},
		{"for the other", strings.Replace(token, "one", "two", 1) + "\n  want: {rule: 'callers[2]'}", true, "callers[2]"},
		{"for a third", strings.Replace(token, "one", "three", 1) + "\n  refused: identity", true, "another audience"},
		{"another issuer", strings.Replace(token, "i.example", "j.example", 1) + "\n  refused: identity", true, "refused: identity"},
		{"a condition that fails", strings.Replace(token, "n: 7, ", "", 1) + "\n  refused: rule", true, "cannot be applied"},
		{"no id", strings.Replace(token, "sub: x", "sub: a:b", 1) + "\n  want: {profile: ci}", false, "makes no workspace's id"},
	} {
		cases, err := ParseCases([]byte("- " + c.text))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if o := tester.Try(t.Context(), cases[0]); o.Passed != c.passed || !strings.Contains(o.Got, c.got) {
			t.Errorf("%s: Try = %+v, want passed %v and %q", c.name, o, c.passed, c.got)
		}
	}
}

func FuzzParseCases(f *testing.F) {
	f.Add([]byte("- given: {method: oidc, issuer: a, claims: {a: [1, {b: c}]}}\n  asks: {repo: a/b, operation: read}\n  refused: rule\n"))
	f.Add([]byte("- given: {claims: &a {b: *a}}"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = ParseCases(data) })
}
