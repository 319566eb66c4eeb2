package config

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
)

func caller() broker.Caller {
	return broker.Caller{Method: "oidc", Subject: "https://issuer.example job 7", Claims: map[string]any{
		"ref": "refs/heads/main", "owner_id": "123", "n": json.Number("7"), "f": json.Number("1.5"), "big": json.Number("123456789012345678901"),
		"most": json.Number("18446744073709551615"), "e": json.Number("1e2"), "yes": true, "groups": []any{"dev", "ops"}, "kubernetes.io": map[string]any{"namespace": "ci"}, "nothing": nil,
	}}
}

func TestMatch(t *testing.T) {
	for text, want := range map[string]bool{
		"claims.ref.startsWith('refs/heads/') && claims.owner_id == '123'": true,
		"claims.owner_id == '1234'":                                        false,
		"claims.n == 7 && claims.f > 1.0":                                  true,
		"claims.n == '7'":                                                  false,
		"claims.big == 123456789012345678901.0":                            false,
		"claims.big == '123456789012345678901'":                            true,
		"claims.yes == true && claims.nothing == null":                     true,
		"'ops' in claims.groups":                                           true,
		"claims.groups.exists(g, g.startsWith('o'))":                       true,
		"claims['kubernetes.io'].namespace == 'ci'":                        true,
		"has(claims.environment)":                                          false,
		"!('environment' in claims)":                                       true,
		"claims.most == 18446744073709551615u":                             true,
		"claims.e == 100.0":                                                true,
		"method == 'oidc' && subject.endsWith(' job 7')":                   true,
		"claims.ref.matches('^refs/heads/[a-z]+$')":                        true,
		"false && claims.missing == 'x'":                                   false,
		"has(claims.missing) && claims.missing == 'admin'":                 false,
	} {
		c, err := Compile(text)
		if err != nil {
			t.Errorf("Compile(%s) = %v", text, err)
			continue
		}
		if got, err := c.Match(caller()); err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", text, got, err, want)
		}
	}
}

// A condition sees the whole subject: an attacker could choose where a cut one ends.
func TestMatchSeesWholeSubjects(t *testing.T) {
	c, err := Compile("subject.endsWith(':ref:refs/heads/main')")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 150, 199, 200, 201, 255, 1000, broker.MaxSubject - 100} {
		padded := "repo:acme/" + strings.Repeat("x", n) + ":ref:refs/heads/main"
		for subject, want := range map[string]bool{padded: true, padded + "x": false, padded + strings.Repeat("x", 60): false} {
			if got, err := c.Match(broker.Caller{Method: "oidc", Subject: subject}); err != nil || got != want {
				t.Errorf("%d bytes: the rule matches: %v, %v, want %v", len(subject), got, err, want)
			}
		}
	}
}

// An expression that cannot be evaluated is an error, neither true nor false.
func TestMatchFails(t *testing.T) {
	heavy := "claims.groups.all(a, claims.groups.all(b, claims.groups.all(c, claims.groups.all(d, a+b+c+d != ''))))"
	for text, want := range map[string]string{
		"claims.missing == 'x'":                     "no such key: missing",
		"claims.ref.namespace == 'x'":               "evaluate the condition",
		"claims.n.startsWith('7')":                  "no such overload",
		"claims.groups[9] == 'x'":                   "evaluate the condition",
		"claims.ref.matches(claims.owner_id + '(')": "evaluate the condition",
		heavy: "cost limit exceeded",
	} {
		c, err := Compile(text)
		if err != nil {
			t.Fatalf("Compile(%s) = %v", text, err)
		}
		who := caller()
		if text == heavy {
			who.Claims["groups"] = make([]any, 100)
			for i := range 100 {
				who.Claims["groups"].([]any)[i] = strings.Repeat("x", 50)
			}
		}
		if got, err := c.Match(who); err == nil || got || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "line 1, column 1",
		"claims.ref.startsWith('refs/": "line 1, column 23",
		"claims.ref ==\n  clams.owner": "line 2, column 3 of the expression: undeclared reference to 'clams'",
		"claims.ref":                   "has the type dyn; it must be bool",
		"claims.n + 1":                 "must be bool",
		"'a' == 1":                     "no matching overload",
		"method.matches('(')":          "cannot be used",
		"request.path == ''":           "undeclared reference",
		"method == '" + strings.Repeat("a", maxText) + "'":                         "size",
		strings.Repeat("(", 2*maxDepth) + "true" + strings.Repeat(")", 2*maxDepth): "recursion",
	} {
		c, err := Compile(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Compile(%.40q) = %v, %v, want one line with %q", text, c, err, want)
		}
	}
}

func TestWhatAnExpressionReads(t *testing.T) {
	c, err := Compile(`claims.ref == 'a' && claims['kubernetes.io'].namespace == 'b' && 'sub' in claims && has(claims.x) && claims.groups.exists(g, g.inner == claims.ref)
		&& claims.ref.matches('^a$') && claims.ref.matches('b$') && method.matches('^c')`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Claims(), []string{"groups", "kubernetes.io", "ref", "sub", "x"}; !slices.Equal(got, want) {
		t.Errorf("Claims() = %q, want %q", got, want)
	}
	if got, want := c.LoosePatterns(), []string{"b$", "^c"}; !slices.Equal(got, want) {
		t.Errorf("Loose() = %q, want %q", got, want)
	}
}

func TestPatternsOfWholeTexts(t *testing.T) {
	for pattern, want := range map[string]bool{
		"^a$": true, `\Aa\z`: true, "^(a|b)$": true, "(^a$)": true, "^a$|^b$": true, "^$": true, "^a.*$": true,
		"": false, "a": false, "^a": false, "a$": false, "^a|b$": false, "^a$|b": false, `^a\$`: false,
		"(?m)^a$": false, "(^a$)?": false, "(": false,
	} {
		if got := isAnchored(pattern); got != want {
			t.Errorf("isWhole(%q) = %v, want %v", pattern, got, want)
		}
	}
}

func TestTheZeroConditionMatchesNoCaller(t *testing.T) {
	if ok, err := new(Condition).Match(caller()); ok || err != nil {
		t.Errorf("Match = %v, %v, want false", ok, err)
	}
	if got := new(Condition).Claims(); len(got) != 0 {
		t.Errorf("Claims = %q, want none", got)
	}
}

func TestFewMistakesAreNamedAtOnce(t *testing.T) {
	_, err := Compile("a == 1 || b == 1 || c == 1 || d == 1")
	if err == nil || strings.Count(err.Error(), " / ") != maxShown-1 {
		t.Errorf("Compile = %v, want %d mistakes", err, maxShown)
	}
	c, err := Compile("method == 'oidc'")
	if err != nil || c.String() != "method == 'oidc'" {
		t.Errorf("Compile = %v, %v, want it as it was written", c, err)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("claims.ref.startsWith('refs/heads/') && claims.owner_id == '123'")
	f.Add("claims.groups.exists(g, g.matches('[')) || [1, 2].map(x, x * x) == claims.n")
	f.Fuzz(func(_ *testing.T, text string) {
		c, err := Compile(text)
		if err != nil {
			return
		}
		_, _ = c.Match(caller())
		c.Claims()
		c.LoosePatterns()
	})
}
