package oidc

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatepass/gatepass/broker"
)

// Rules for several audiences and issuers share a broker: each token finds the
// rule that it is for, and no rule takes another's.
func TestResolve(t *testing.T) {
	i, other := newIssuer(t), newIssuer(t)
	p := &broker.Policy{Rules: []broker.Rule{
		{Name: "other issuer", By: other.identifier(t, nil), Workspace: "other"},
		{Name: "other audience", By: i.identifier(t, func(s *Settings) { s.Audience = "second" }), Workspace: "second"},
		{Name: "main", By: i.identifier(t, nil), Match: broker.Exactly{"ref": "refs/heads/main"}, Workspace: "ci-{claim.repository_id}"},
	}}
	resolve := func(token string) (broker.Workspace, int) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w, err := p.Resolve(t.Context(), r)
		if refusal, ok := errors.AsType[*broker.Refusal](err); ok {
			return w, refusal.Status
		}
		return w, http.StatusOK
	}
	claims := func(more map[string]any) map[string]any {
		all := map[string]any{"ref": "refs/heads/main", "repository_id": "7"}
		for name, v := range more {
			all[name] = v
		}
		return all
	}
	for _, c := range []struct {
		name, token, workspace string
		status                 int
	}{
		{"main", i.token(claims(nil)), "ci-7", http.StatusOK},
		{"the other audience", i.token(claims(map[string]any{"aud": "second"})), "second", http.StatusOK},
		{"the other issuer", other.token(nil), "other", http.StatusOK},
		{"a third audience", i.token(claims(map[string]any{"aud": "third"})), "", http.StatusUnauthorized},
		{"another branch", i.token(claims(map[string]any{"ref": "refs/heads/x"})), "", http.StatusForbidden},
		{"no id in the claims", i.token(claims(map[string]any{"repository_id": "../7"})), "", http.StatusForbidden},
		{"forged", signRSA(otherRSAKey(), map[string]any{"alg": "RS256", "kid": "rsa"}, i.claims(claims(nil))), "", http.StatusUnauthorized},
		{"no token", "gpj_abc", "", http.StatusUnauthorized},
	} {
		if w, status := resolve(c.token); w.ID != c.workspace || status != c.status {
			t.Errorf("%s: Resolve = %q, %d, want %q, %d", c.name, w.ID, status, c.workspace, c.status)
		}
	}
	i.answer(discoveryPath, down)
	i.pass(knownFor + freshFor)
	if _, status := resolve(i.token(claims(nil))); status != http.StatusServiceUnavailable {
		t.Errorf("without the issuer's keys: Resolve answers %d, want 503", status)
	}
}
