package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
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
		{"an unknown key", "asks:", "ask:", `line 2 column 3: unknown key "ask"`},
		{"both outcomes", "want:", "refused: rule\n  want:", "a case needs either want or refused"},
		{"no outcome", "  want: {workspace: a}\n", "", "a case needs either want or refused"},
		{"an empty want", "{workspace: a}", "{}", "write at least one of"},
		{"an unknown reason", "want: {workspace: a}", "refused: no", `"no" must be one of host`},
		{"no method", "method: socket, ", "", "method is missing"},
		{"an issuer of a socket", "socket,", "socket, issuer: a,", "given: issuer is required for the method oidc, and not allowed for others"},
		{"no issuer", "method: socket", "method: oidc", "given: issuer is required for the method oidc, and not allowed for others"},
		{"a bad repository", "acme/widgets", "widgets", "want OWNER/NAME"},
		{"a bad operation", "read", "push", "want read or write"},
		{"hexadecimal", "uid: 1", "uid: 0x1", "is not a JSON number; quote a string"},
		{"a claim twice", "uid: 1", "uid: 1, uid: 2", "be given once"},
		{"claims in a list", "{uid: 1}", "[uid]", "claims must be a mapping of names to values"},
		{"no list", good, "cases: []\n", "line 1 column 1: want a list of cases"},
		{"an alias", "{uid: 1}", "{uid: &a 1, gid: *a}", "a claim must not have an alias; write its value"},
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

// The tester distinguishes all ways in which a case can fail.
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
		{"no id", strings.Replace(token, "sub: x", "sub: a:b", 1) + "\n  want: {profile: ci}", false, "this identity does not give a valid workspace ID"},
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

// The broker's own code decides a case, on the values that the broker sees: a case has
// the same result here and there.
func TestCasesAreDecidedAsByTheBroker(t *testing.T) {
	f := load(t, `  - {name: list, oidc: {issuer: "https://i.example", audience: b}, cel: "has(claims.aud) && claims.aud == ['b']", workspace: a, profile: ci}
  - {name: main, oidc: {issuer: "https://i.example", audience: b}, cel: "subject.endsWith(':ref:refs/heads/main')", workspace: a, profile: ci}
  - {name: agents, mtls: {ca_file: a, trust_domain: prod.example}, claims: {path: {pattern: "/agents/.+"}}, workspace: b, profile: ci}
  - {name: sb, join: {}, cel: "subject == 'session of sb-1'", workspace: "{claim.workspace}", profile: ci}
  - {name: role, aws: {server_id: b, regions: [eu-west-1]}, cel: "subject == 'arn:aws:iam::123456789012:role/agents'", workspace: c, profile: ci}
  - {name: uid, socket: {}, cel: "subject == 'uid 7'", workspace: d, profile: ci}
`)
	tester, err := NewTester(f)
	if err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("x", 300)
	for _, c := range []struct {
		name    string
		given   Given
		rule    string // "" means refused, for this reason
		refused string
	}{
		{"a subject", token("repo:acme/widgets:ref:refs/heads/main"), "main", ""},
		{"a long one", token("repo:" + pad + ":ref:refs/heads/main"), "main", ""},
		{"a padded one", token("repo:acme/widgets:ref:refs/heads/main" + pad), "", broker.ReasonRule},
		{"one that no token has", token("repo:" + strings.Repeat("x", 8000) + ":ref:refs/heads/main"), "", broker.ReasonIdentity},
		{"one that is too long", token("repo:" + strings.Repeat("x", 4100) + ":ref:refs/heads/main"), "", broker.ReasonIdentity},
		{"a claim in another case", Given{Method: "oidc", Issuer: "https://i.example", Claims: &Claims{"sub": "x:ref:refs/heads/main", "Sub": "y"}}, "", broker.ReasonIdentity},
		{"a subject that is no text", Given{Method: "oidc", Issuer: "https://i.example", Claims: &Claims{"sub": json.Number("7")}}, "", broker.ReasonIdentity},
		{"an audience in a list", Given{Method: "oidc", Issuer: "https://i.example", Claims: &Claims{"sub": "x:ref:refs/heads/main", "aud": []any{"b"}}}, "list", ""},
		{"an audience beside others", Given{Method: "oidc", Issuer: "https://i.example", Claims: &Claims{"sub": "x", "aud": []any{"b", "c"}}}, "", broker.ReasonIdentity},
		{"another subject than the claims say", Given{Method: "oidc", Issuer: "https://i.example", Subject: "x:ref:refs/heads/main", Claims: &Claims{"sub": "y"}}, "", broker.ReasonIdentity},
		{"a SPIFFE id", Given{Method: "mtls", Claims: &Claims{"spiffe_id": "spiffe://prod.example/agents/1"}}, "agents", ""},
		{"one of another domain", Given{Method: "mtls", Claims: &Claims{"spiffe_id": "spiffe://other.example/agents/1"}}, "", broker.ReasonIdentity},
		{"one in another case", Given{Method: "mtls", Claims: &Claims{"spiffe_id": "spiffe://Prod.example/agents/1"}}, "", broker.ReasonIdentity},
		{"one whose path the case says otherwise", Given{Method: "mtls", Claims: &Claims{"spiffe_id": "spiffe://prod.example/x", "path": "/agents/1"}}, "", broker.ReasonRule},
		{"a session", Given{Method: "session", Claims: &Claims{"workspace": "sb-1", "rule": "sb"}}, "sb", ""},
		{"an ARN", Given{Method: "aws", Claims: &Claims{"arn": "arn:aws:iam::123456789012:role/agents"}}, "role", ""},
		{"one of a session", Given{Method: "aws", Claims: &Claims{"arn": "arn:aws:sts::123456789012:assumed-role/agents/x"}}, "", broker.ReasonIdentity},
		{"one of another account", Given{Method: "aws", Claims: &Claims{"arn": "arn:aws:iam::123456789012:role/agents", "account": "1"}}, "", broker.ReasonIdentity},
		{"a user", Given{Method: "socket", Claims: &Claims{"uid": json.Number("7")}}, "uid", ""},
	} {
		o := tester.Try(t.Context(), Case{Name: c.name, Given: c.given})
		if o.Rule != c.rule || o.Refused != c.refused {
			t.Errorf("%s: Try = %+v, want rule %q and refused %q", c.name, o, c.rule, c.refused)
		}
		claims := maps.Clone(*c.given.Claims)
		claims["iss"] = c.given.Issuer
		if w, _, err := tester.policy.Explain(c.given.Method, claims); c.refused != broker.ReasonIdentity && (w.Rule != c.rule || (err == nil) != (c.rule != "")) && c.given.Method != "mtls" {
			t.Errorf("%s: the broker explains rule %q, %v, want %q", c.name, w.Rule, err, c.rule)
		}
	}
}

// token returns a case's token of the test issuer.
func token(sub string) Given {
	return Given{Method: "oidc", Issuer: "https://i.example", Claims: &Claims{"sub": sub}}
}

func FuzzParseCases(f *testing.F) {
	f.Add([]byte("- given: {method: oidc, issuer: a, claims: {a: [1, {b: c}]}}\n  asks: {repo: a/b, operation: read}\n  refused: rule\n"))
	f.Add([]byte("- given: {claims: &a {b: *a}}"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = ParseCases(data) })
}
