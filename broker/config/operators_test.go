package config

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
)

const (
	operatorToken = "operator-0123456789abcdef0123"
	// SHA-256 of operatorToken.
	operatorHash = "f4bfdd1715214547ec69a2a306fced9a1832865d021f4095c779479d5a457a43"
)

func TestOperators(t *testing.T) {
	f, err := loadFile(t, whole+"operators:\n  - {name: root, socket: {uid: 0}}\n  - {name: night, token_sha256: "+operatorHash+"}\nwebhook: {secret_file: /etc/gatepass/webhook}\n")
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Policy(new(Identifiers))
	if err != nil || len(p.Operators) != 2 || p.Operators[0].Name != "root" || f.Webhook.SecretFile != "/etc/gatepass/webhook" {
		t.Fatalf("Policy = %+v, %v, want two operators", p, err)
	}
	if ok, err := p.Operators[0].Match.Match(broker.Caller{Claims: map[string]any{"uid": "1000"}}); ok || err != nil {
		t.Errorf("an operator's rule matches another uid: %v", err)
	}
	if p.Operators[0].Key == p.Operators[1].Key || p.Operators[0].Key == "" {
		t.Errorf("the keys are %q and %q, want two", p.Operators[0].Key, p.Operators[1].Key)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	if o, err := p.Operator(t.Context(), r); err != nil || o.Name != "night" || o.Key != p.Operators[1].Key {
		t.Errorf("Operator = %+v, %v, want night", o, err)
	}
	r.Header.Set("Authorization", "Bearer "+operatorToken+"x")
	if o, err := p.Operator(t.Context(), r); err == nil {
		t.Errorf("another token is operator %+v", o)
	}
}

// A login by a rule ends when the rule changes.
func TestTheKeyFollowsTheRule(t *testing.T) {
	keys := map[string]bool{}
	for _, operators := range []string{
		"[{name: a, socket: {uid: 0}}]", "[{name: a, socket: {uid: 1}}]", "[{name: b, socket: {uid: 0}}]", "[{name: a, socket: {uid: 0}, claims: {pid: '7'}}]",
		"[{name: a, token_sha256: " + operatorHash + "}]", "[{name: a, token_sha256: " + strings.Repeat("1", 64) + "}]",
	} {
		f, err := loadFile(t, whole+"operators: "+operators+"\n")
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.Policy(new(Identifiers))
		if err != nil || keys[p.Operators[0].Key] {
			t.Errorf("%s: %v, the key %s is another rule's", operators, err, p.Operators[0].Key)
		}
		keys[p.Operators[0].Key] = true
	}
}

func TestOperatorsRefused(t *testing.T) {
	for _, c := range []struct{ name, operators, want string }{
		{"no method", "[{name: a}]", "exactly one method"},
		{"two methods", "[{socket: {uid: 0}, token_sha256: " + operatorHash + "}]", "exactly one method"},
		{"a token", "[{token_sha256: " + operatorToken + "}]", "operators[0]: want the SHA-256"},
		{"a token with claims", "[{token_sha256: " + operatorHash + ", claims: {a: b}}]", "token_sha256 must not have claims"},
		{"everybody on the socket", "[{socket: {}}]", "it matches every caller with a valid proof; write claims, or the uid of a socket"},
		{"everybody of an issuer", "[{oidc: {issuer: 'https://issuer.example', audience: gatepass}}]", "it matches every caller with a valid proof; write claims, or the uid of a socket"},
		{"everybody at AWS", "[{aws: {server_id: broker.example, regions: [us-east-1]}}]", "aws: the rule matches everyone who has an AWS account; match account, arn or user_id in claims"},
		{"a session", "[{name: x, join: {}}]", "operators cannot use sessions"},
		{"a workspace", "[{socket: {uid: 0}, workspace: x}]", "an operator must not have workspace, profile or tokens"},
		{"an unknown key", "[{token: x}]", `unknown key "token"`},
		{"a limit of tokens", "[{socket: {uid: 0}, tokens: none}]", "profile or tokens"},
		{"an unbalanced pattern", "[{socket: {uid: 0}, claims: {pid: {pattern: 'a)|(b'}}}]", "the pattern is not a regular expression"},
	} {
		if f, err := loadFile(t, whole+"operators: "+c.operators+"\n"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Load = %v, %v, want an error with %q", c.name, f, err, c.want)
		}
	}
}

// The secret is read for each delivery, so that it can be changed without a restart.
func TestTheWebhooksSecret(t *testing.T) {
	w := Webhook{SecretFile: filepath.Join(t.TempDir(), "secret")}
	if _, err := w.Secret(); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), w.SecretFile) {
		t.Errorf("Secret without a file = %v, want one line that names it", err)
	}
	for text, want := range map[string]string{"first\n": "first", "second": "second", " third \r\n": " third "} {
		if err := os.WriteFile(w.SecretFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := w.Secret(); got != want || err != nil {
			t.Errorf("Secret of %q = %q, %v, want %q", text, got, err, want)
		}
	}
	if err := os.WriteFile(w.SecretFile, make([]byte, maxSecret+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Secret(); err == nil {
		t.Error("Secret of a long file = nil, want an error")
	}
}
