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
		{"a join rule without a name", "  - name: agents\n    join", "  - join", "has a name"},
		{"two methods", "join: {}", "join: {}\n    socket: {}", "exactly one of"},
		{"too long a sleep", "join: {}", "join: {sleep: 24h1s}", "sleep is from 0 to 24h0m0s"},
		{"settings of join", "join: {}", "join: {ttl: 5m}", `unknown key "ttl"`},
		{"no server id", "server_id: broker.example, ", "", "server_id"},
		{"a region that is a pattern", "[eu-west-1]", "['*']", "no AWS region"},
		{"a rule for every AWS account", `claims: {account: "123456789012"}`, `claims: {role: agents}`, "everybody who has an AWS account"},
		{"a bundle of no trust domain", "trust_domain: prod.example, id: spiffe://prod.example/sb-1", "id: spiffe://prod.example/sb-1", "name it"},
		{"an id of another trust domain", "id: spiffe://prod", "id: spiffe://other", "not of the trust domain"},
	} {
		f, err := loadFile(t, strings.Replace(proved, c.old, c.replacement, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Load = %v, %v, want one line with %q", c.name, f, err, c.want)
		}
	}
}
