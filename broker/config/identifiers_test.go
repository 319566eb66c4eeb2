package config

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/test/storetest"
)

const proved = `listen: https://127.0.0.1:8443
tls: {cert_file: /etc/gatepass/tls.crt, key_file: /etc/gatepass/tls.key}
audit: /var/log/gatepass/audit.jsonl
profiles: ["@DIR@/profiles/*.yaml"]
callers:
  - aws: {server_id: broker.example, regions: [eu-west-1]}
    claims: {arn: "arn:aws:iam::123456789012:role/agents"}
    workspace: "aws-{claim.account}"
    profile: agent
  - aws: {server_id: broker.example, regions: [eu-west-1]}
    claims: {account: "123456789012"}
    workspace: "aws-{claim.account}"
    profile: agent
  - mtls: {bundle_file: /etc/gatepass/bundle.json, trust_domain: prod.example, id: spiffe://prod.example/sb-1}
    workspace: sb-1
    profile: agent
  - mtls: {bundle_file: /etc/gatepass/bundle.json, trust_domain: prod.example}
    claims: {path: {pattern: "/sb-[0-9]+"}}
    workspace: "id-{claim.serial}"
    profile: agent
  - name: agents
    join: {}
    workspace: "{claim.workspace}"
    profile: agent
`

func TestProofs(t *testing.T) {
	f, err := loadFile(t, proved)
	if err != nil {
		t.Fatal(err)
	}
	known := new(Identifiers)
	known.Keys = &identity.Keyset{Store: &storetest.Memory{}}
	p, err := f.Policy(known)
	if err != nil || len(p.Rules) != 5 {
		t.Fatalf("Policy = %+v, %v, want five rules", p, err)
	}
	again, err := f.Policy(known)
	if err != nil {
		t.Fatal(err)
	}
	for i, rule := range p.Rules {
		if rule.By != again.Rules[i].By {
			t.Errorf("rule %d has another identifier after a reload", i)
		}
	}
	if p.Rules[0].By != p.Rules[1].By || p.Rules[2].By != p.Rules[3].By || p.Rules[4].By != broker.Identifier(known.Sessions()) {
		t.Error("rules of the same settings do not share their identifier")
	}
	for i, c := range []struct {
		claims map[string]any
		want   bool
	}{
		{map[string]any{"arn": "arn:aws:iam::123456789012:role/agents"}, true},
		{map[string]any{"account": "1234567890123"}, false},
		{map[string]any{"spiffe_id": "spiffe://prod.example/sb-10"}, false},
		{map[string]any{"path": "/sb-10", "serial": "a"}, true},
		{map[string]any{"rule": "agents", "workspace": "sb-1"}, true},
	} {
		if got, err := p.Rules[i].Match.Match(broker.Caller{Claims: c.claims}); got != c.want || err != nil {
			t.Errorf("rule %d matches %v: %v, %v, want %v", i, c.claims, got, err, c.want)
		}
	}
	if known.ClientCAs() != nil {
		t.Error("there are authorities without a file")
	}
	if _, err := p.Resolve(t.Context(), httptest.NewRequest(http.MethodPost, "/", nil)); err == nil || !strings.Contains(err.Error(), "no identity") {
		t.Errorf("Resolve = %v, want that there is no identity", err)
	}
}

func TestProofsRefused(t *testing.T) {
	for _, c := range []struct{ name, old, replacement, want string }{
		{"a join rule without a name", "  - name: agents\n    join", "  - join", "must have a name"},
		{"two methods", "join: {}", "join: {}\n    socket: {}", "exactly one of"},
		{"too long a sleep", "join: {}", "join: {sleep: 24h1s}", "sleep must be from 0 to 24h0m0s"},
		{"settings of join", "join: {}", "join: {ttl: 5m}", `unknown key "ttl"`},
		{"no server id", "server_id: broker.example, ", "", "server_id"},
		{"a region that is a pattern", "[eu-west-1]", "['*']", "not an AWS region"},
		{"a rule for every AWS account", `claims: {account: "123456789012"}`, `claims: {role: agents}`, "aws: the rule matches everyone who has an AWS account; match account, arn or user_id in claims"},
		{"a bundle of no trust domain", "trust_domain: prod.example, id: spiffe://prod.example/sb-1", "id: spiffe://prod.example/sb-1", "needs trust_domain"},
		{"an id of another trust domain", "id: spiffe://prod", "id: spiffe://other", "is not in the trust domain"},
	} {
		f, err := loadFile(t, strings.Replace(proved, c.old, c.replacement, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Load = %v, %v, want one line with %q", c.name, f, err, c.want)
		}
	}
}

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

// What an identifier has learned survives a reload, and changed settings make a new
// identifier.
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
		{"oidc: {", "socket: {}\n    oidc: {", "a rule must have exactly one of socket, oidc, aws, mtls and join"},
	} {
		_, err := loadFile(t, whole+strings.Replace(oidcRule, c.old, c.changed, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Load = %v, want one line with %q", c.changed, err, c.want)
		}
	}
}
