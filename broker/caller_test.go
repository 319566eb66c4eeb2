package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestClaim(t *testing.T) {
	c := Caller{Claims: map[string]any{
		"sub": "a", "n": json.Number("7"), "yes": true, "list": []any{"x"}, "nothing": nil,
		"kubernetes.io":              map[string]any{"namespace": "ci", "serviceaccount": map[string]any{"name": "runner"}},
		"https://sts.amazonaws.com/": map[string]any{"aws_account": "123456789012", "request_tags": map[string]any{"a/b": "slashed"}},
		"a":                          map[string]any{"b": map[string]any{"c": "short names first"}},
		"a/b":                        map[string]any{"c": "longer", "d": "only here"},
		"a/b/c/whole":                "the whole path first",
	}}
	for path, want := range map[string]string{
		"sub": "a", "n": "7", "yes": "true",
		"kubernetes.io/serviceaccount/name":           "runner",
		"https://sts.amazonaws.com//aws_account":      "123456789012",
		"https://sts.amazonaws.com//request_tags/a/b": "slashed",
		"a/b/c": "short names first", "a/b/d": "only here", "a/b/c/whole": "the whole path first",
	} {
		if got, ok := c.Claim(path); got != want || !ok {
			t.Errorf("Claim(%q) = %q, %v, want %q", path, got, ok, want)
		}
	}
	for _, path := range []string{"", "/", "Sub", "sub/", "/sub", "list", "nothing", "kubernetes.io", "kubernetes.io/", "kubernetes.io//namespace", "sub/a"} {
		if got, ok := c.Claim(path); ok {
			t.Errorf("Claim(%q) = %q, want none", path, got)
		}
	}
}

type identifierFunc func() error

func (f *identifierFunc) Identify(context.Context, *http.Request) (Caller, error) {
	return Caller{}, (*f)()
}

// An identity that cannot be checked now is not an invalid one, in whatever order the
// rules find out.
func TestResolveTellsLaterFromNever(t *testing.T) {
	later := identifierFunc(func() error {
		return &Refusal{Status: 503, Reason: ReasonIdentity, Detail: "later", RetryAfter: time.Second}
	})
	never := identifierFunc(func() error { return errors.New("never") })
	for _, p := range []Policy{{Rules: []Rule{{By: &later}, {By: &never}}}, {Rules: []Rule{{By: &never}, {By: &later}}}} {
		_, err := p.Resolve(t.Context(), httptest.NewRequest(http.MethodPost, "/", nil))
		if r, ok := errors.AsType[*Refusal](err); !ok || r.Status != 503 || r.RetryAfter != time.Second {
			t.Errorf("Resolve = %v, want the refusal with 503", err)
		}
	}
	p := Policy{Rules: []Rule{{By: &never}}}
	_, err := p.Resolve(t.Context(), httptest.NewRequest(http.MethodPost, "/", nil))
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Status != 401 || r.Detail != "never" {
		t.Errorf("Resolve = %v, want 401 with what the identifier says", err)
	}
}

// Rules see the whole subject: an attacker could choose where a cut subject ends. A
// subject that is too long is refused.
func TestNewCaller(t *testing.T) {
	long := strings.Repeat("x", MaxSubject)
	for _, c := range []struct {
		method string
		claims map[string]any
		want   string
	}{
		{"socket", map[string]any{"uid": json.Number("1000")}, "uid 1000"},
		{"oidc", map[string]any{"iss": "https://i.example", "sub": "job 7"}, "https://i.example job 7"},
		{"oidc", map[string]any{"iss": "https://i.example"}, ""},
		{"oidc", map[string]any{"sub": long}, long},
		{"aws", map[string]any{"arn": "arn:aws:iam::1:role/a"}, "arn:aws:iam::1:role/a"},
		{"mtls", map[string]any{"spiffe_id": "spiffe://a/b"}, "spiffe://a/b"},
		{"session", map[string]any{"workspace": "sb-1"}, "session of sb-1"},
		{"another", map[string]any{"": "x", "sub": "x"}, ""},
	} {
		got, err := NewCaller(c.method, c.claims)
		if err != nil || got.Subject != c.want || got.Method != c.method {
			t.Errorf("NewCaller(%s, %.40v) = %.40q, %v, want %.40q", c.method, c.claims, got.Subject, err, c.want)
		}
	}
	for method, claim := range map[string]string{"oidc": "sub", "aws": "arn", "mtls": "spiffe_id", "session": "workspace"} {
		if got, err := NewCaller(method, map[string]any{claim: long + "x"}); err == nil || !strings.Contains(err.Error(), "subject") || got.Method != "" {
			t.Errorf("NewCaller(%s) of a long %s = %v, want that the subject is too long", method, claim, err)
		}
	}
}
