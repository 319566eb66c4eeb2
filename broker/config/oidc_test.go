package config

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
)

const oidcRule = `  - oidc: {issuer: "https://issuer.example", audience: gatepass, algorithms: [ES256], max_age: 10m, clock_skew: 30s}
    claims: {ref: refs/heads/main}
    cel: claims.owner_id == '123'
    workspace: "ci-{claim.owner_id}"
    profile: agent
`

func TestOIDCRule(t *testing.T) {
	f, err := loadFile(t, whole+oidcRule)
	if err != nil {
		t.Fatal(err)
	}
	if s := f.Callers[1].OIDC; f.Callers[1].Method() != "oidc" || s.MaxAge.String() != "10m0s" || s.ClockSkew.String() != "30s" || s.Algorithms[0] != "ES256" {
		t.Errorf("the rule is read as %+v", s)
	}
	p, err := f.Policy(new(Identifiers))
	if err != nil {
		t.Fatal(err)
	}
	for owner, want := range map[string]bool{"123": true, "124": false} {
		if got, err := p.Rules[1].Match.Match(broker.Caller{Claims: map[string]any{"ref": "refs/heads/main", "owner_id": owner}}); err != nil || got != want {
			t.Errorf("owner %s: Match = %v, %v, want %v", owner, got, err, want)
		}
	}
	if got, err := p.Rules[1].Match.Match(broker.Caller{Claims: map[string]any{"ref": "refs/heads/main"}}); err == nil || got {
		t.Errorf("without an owner: Match = %v, %v, want an error", got, err)
	}
}

// What an identifier has learnt outlives a reload, and settings that change make
// another.
func TestIdentifiersAreKept(t *testing.T) {
	known := new(Identifiers)
	policy := func(text string) *broker.Policy {
		t.Helper()
		f, err := loadFile(t, whole+text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.Policy(known)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, again := policy(oidcRule), policy(strings.Replace(oidcRule, "'123'", "'124'", 1)+oidcRule)
	if first.Rules[1].By != again.Rules[1].By || again.Rules[1].By != again.Rules[2].By {
		t.Error("a reload made another identifier of the same settings")
	}
	for _, change := range []struct{ old, changed string }{{"audience: gatepass", "audience: other"}, {"issuer.example", "issuer2.example"}, {"10m", "11m"}} {
		if other := policy(strings.Replace(oidcRule, change.old, change.changed, 1)); other.Rules[1].By == first.Rules[1].By {
			t.Errorf("%s in the place of %s is the same identifier", change.changed, change.old)
		}
	}
}

func TestOIDCRuleRefuses(t *testing.T) {
	for _, c := range []struct{ old, changed, want string }{
		{"https:", "http:", `callers[1]: oidc: issuer "http://issuer.example": want https://`},
		{"audience: gatepass, ", "", "callers[1]: oidc: audience is missing"},
		{"ES256", "HS256", `algorithm "HS256"`},
		{"10m", "soon", "line 11"},
		{"cel: claims", "cel: clams", "callers[1]: cel: line 1, column 1 of the expression: undeclared reference"},
		{"oidc: {", "socket: {}\n    oidc: {", "exactly one of: socket, oidc"},
	} {
		_, err := loadFile(t, whole+strings.Replace(oidcRule, c.old, c.changed, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Load = %v, want one line with %q", c.changed, err, c.want)
		}
	}
}
