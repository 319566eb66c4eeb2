package oidc

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A cluster answers TokenReviews as a Kubernetes API server does: 201 with the review
// that was sent and a status. It accepts only the exact form.
type cluster struct {
	t  *testing.T
	mu sync.Mutex // guards what follows
	// status is its answer for any token.
	status map[string]any
	code   int
	asked  int
}

const brokersToken = "the broker's own token"

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	var review map[string]any
	dec := json.NewDecoder(r.Body)
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || dec.Decode(&review) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+brokersToken {
		http.Error(w, "who asks?", http.StatusUnauthorized)
		return
	}
	spec, _ := review["spec"].(map[string]any)
	fields := slices.Sorted(maps.Keys(review))
	if !slices.Equal(fields, []string{"apiVersion", "kind", "spec"}) || review["apiVersion"] != "authentication.k8s.io/v1" || review["kind"] != "TokenReview" || spec["token"] == "" {
		c.t.Errorf("the review is %v", review)
	}
	if audiences, _ := spec["audiences"].([]any); len(audiences) != 1 || audiences[0] != audience {
		c.t.Errorf("the review's audiences are %v", spec["audiences"])
	}
	review["status"] = c.status
	w.WriteHeader(c.code)
	_ = json.NewEncoder(w).Encode(review)
}

func (c *cluster) say(code int, status map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.code, c.status = code, status
}

const account = "system:serviceaccount:ci:runner"

func stands() map[string]any {
	return map[string]any{
		"authenticated": true, "audiences": []string{audience},
		"user": map[string]any{"username": account, "uid": "u", "groups": []string{"system:authenticated"}, "extra": map[string]any{"authentication.kubernetes.io/pod-name": []string{"p"}}},
	}
}

// newCluster makes an issuer that is also an API server.
func newCluster(t *testing.T) (*issuer, *cluster, *Identifier) {
	i := newIssuer(t)
	c := &cluster{t: t, code: http.StatusCreated, status: stands()}
	i.answer(reviewPath, c.ServeHTTP)
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(brokersToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	by := i.identifier(t, func(s *Settings) { s.TokenReview = &Review{URL: i.URL + "/", CAFile: i.caFile, TokenFile: tokenFile} })
	return i, c, by
}

func TestTokenReview(t *testing.T) {
	i, c, by := newCluster(t)
	pod := i.token(map[string]any{"sub": account, "exp": i.now().Unix() + 3600})
	for range 3 {
		if _, err := identify(t.Context(), by, pod); err != nil {
			t.Fatalf("a pod that is there: Identify = %v", err)
		}
	}
	if c.asked != 1 {
		t.Errorf("three questions made %d reviews, want one", c.asked)
	}
	c.say(http.StatusCreated, map[string]any{"user": map[string]any{}, "error": "[invalid bearer token, service account token has been invalidated]"})
	i.pass(reviewedFor)
	if _, err := identify(t.Context(), by, pod); err == nil || !strings.Contains(err.Error(), "pod or account may be gone") {
		t.Errorf("a pod that was deleted: Identify = %v", err)
	}
	c.say(http.StatusCreated, stands())
	if _, err := identify(t.Context(), by, pod); err == nil {
		t.Error("a refusal did not last ten seconds")
	}
}

func TestTokenReviewRefuses(t *testing.T) {
	with := func(name string, v any) map[string]any {
		status := stands()
		status[name] = v
		return status
	}
	for name, status := range map[string]map[string]any{
		"a server without audiences": with("audiences", nil),
		"another audience":           with("audiences", []string{"https://kubernetes.default.svc"}),
		"another account":            with("user", map[string]any{"username": "system:serviceaccount:ci:other"}),
		"not authenticated":          with("authenticated", false),
	} {
		i, c, by := newCluster(t)
		c.say(http.StatusCreated, status)
		if caller, err := identify(t.Context(), by, i.token(map[string]any{"sub": account})); err == nil || isUnavailable(err) {
			t.Errorf("%s: Identify = %+v, %v, want an error", name, caller, err)
		}
	}
}

// While a cluster cannot be asked, no caller is accepted; then it is asked again.
func TestTokenReviewOutage(t *testing.T) {
	i, c, by := newCluster(t)
	token := i.token(map[string]any{"sub": account})
	for _, code := range []int{http.StatusForbidden, http.StatusInternalServerError, http.StatusFound} {
		c.say(code, stands())
		if _, err := identify(t.Context(), by, token); !isUnavailable(err) {
			t.Errorf("the API server answers %d: Identify = %v, want a refusal with 503", code, err)
		}
	}
	i.answer(reviewPath, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, map[string]any{"kind": "Status"}) })
	if _, err := identify(t.Context(), by, token); !isUnavailable(err) {
		t.Errorf("an answer that is no review: Identify = %v, want a refusal with 503", err)
	}
	i.answer(reviewPath, c.ServeHTTP)
	c.say(http.StatusCreated, stands())
	if _, err := identify(t.Context(), by, token); err != nil {
		t.Errorf("when it is back: Identify = %v", err)
	}
}

// The cluster is not asked about a token whose signature is invalid.
func TestForgedTokensAreNotReviewed(t *testing.T) {
	i, c, by := newCluster(t)
	forged := signRSA(otherRSAKey(), map[string]any{"alg": "RS256", "kid": "rsa"}, i.claims(map[string]any{"sub": account}))
	if _, err := identify(t.Context(), by, forged); err == nil || c.asked != 0 {
		t.Errorf("Identify = %v, and the cluster was asked %d times", err, c.asked)
	}
}
