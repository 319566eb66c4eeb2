package oidc

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/kubernetestest"
)

// A realCluster is an API server, and a namespace with a broker's account that may
// review tokens.
type realCluster struct {
	*kubernetestest.Cluster
	namespace, caFile, brokerToken string
	ahead                          atomic.Int64 // offset of the broker's clock, in nanoseconds
}

func newRealCluster(t *testing.T) *realCluster {
	t.Helper()
	c := &realCluster{Cluster: kubernetestest.New(t)}
	c.namespace = c.Namespace()
	c.caFile = c.File("ca.pem", string(c.CA))
	c.brokerToken = c.File("token", c.Token(c.namespace, "broker", nil))
	c.Grant("system:auth-delegator", kubernetestest.Fields{"kind": "ServiceAccount", "name": "broker", "namespace": c.namespace})
	// Brokers fetch the issuer's keys without a token.
	c.Grant("system:service-account-issuer-discovery", kubernetestest.Fields{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"})
	return c
}

func (c *realCluster) identifier(t *testing.T, tokenFile string) *Identifier {
	t.Helper()
	by, err := newAt(Settings{
		Issuer: c.Host, Audience: audience, CAFile: c.caFile,
		TokenReview: &Review{URL: c.Host, CAFile: c.caFile, TokenFile: tokenFile},
	}, nil, func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	return by
}

// token returns an account's token for an audience, bound to an object or to nothing.
func (c *realCluster) token(account, audience string, bound kubernetestest.Fields) string {
	spec := kubernetestest.Fields{"audiences": []string{audience}}
	if bound != nil {
		spec["boundObjectRef"] = bound
	}
	return c.Token(c.namespace, account, spec)
}

// pod makes a pod that no kubelet runs, and returns the object to bind a token to.
func (c *realCluster) pod(name, account string) kubernetestest.Fields {
	made := c.Call(http.MethodPost, "/api/v1/namespaces/"+c.namespace+"/pods", kubernetestest.Fields{
		"metadata": kubernetestest.Fields{"name": name},
		"spec":     kubernetestest.Fields{"serviceAccountName": account, "containers": []kubernetestest.Fields{{"name": "x", "image": "example.com/x"}}},
	})
	return kubernetestest.Fields{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": made["metadata"].(kubernetestest.Fields)["uid"]}
}

// untilRefused asks until a token is refused. The server itself caches a review for ten
// seconds.
func (c *realCluster) untilRefused(t *testing.T, by *Identifier, what, token string) {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		c.ahead.Add(int64(reviewedFor))
		_, err := identify(t.Context(), by, token)
		switch {
		case err != nil && !isUnavailable(err) && strings.Contains(err.Error(), "pod or account may be gone"):
			return
		case err != nil || time.Now().After(until):
			t.Errorf("%s: Identify = %v, want a refusal", what, err)
			return
		}
	}
}

// A pod's token is valid while its pod and its account exist.
func TestRealTokenReview(t *testing.T) {
	c := newRealCluster(t)
	by := c.identifier(t, c.brokerToken)
	subject := "system:serviceaccount:" + c.namespace + ":"
	c.Token(c.namespace, "runner", nil) // a pod's account must exist first
	tokens := map[string]string{
		"of a pod that is deleted":      c.token("runner", audience, c.pod("p", "runner")),
		"of an account that is deleted": c.token("leaver", audience, nil),
		"of neither":                    c.token("runner", audience, nil),
	}
	for what, token := range tokens {
		caller, err := identify(t.Context(), by, token)
		if err != nil || !strings.HasPrefix(caller.Subject, c.Host+" "+subject) {
			t.Fatalf("a token %s: Identify = %+v, %v, want the account", what, caller, err)
		}
	}
	c.Call(http.MethodDelete, "/api/v1/namespaces/"+c.namespace+"/pods/p?gracePeriodSeconds=0", nil)
	c.DeleteAccount(c.namespace, "leaver")
	for what, token := range tokens {
		if _, err := identify(t.Context(), by, token); err != nil {
			t.Errorf("a token %s, within ten seconds: Identify = %v", what, err)
		}
	}
	for what, token := range tokens {
		if what != "of neither" {
			c.untilRefused(t, by, what, token)
		}
	}
	if _, err := identify(t.Context(), by, tokens["of neither"]); err != nil {
		t.Errorf("a token whose pod and account are there: Identify = %v", err)
	}
}

// A token for another audience is refused before the review, and by it.
func TestRealTokenReviewOfAnotherAudience(t *testing.T) {
	c := newRealCluster(t)
	by := c.identifier(t, c.brokerToken)
	other := c.token("runner", "https://vault.example", nil)
	for _, token := range []string{other, c.Token(c.namespace, "runner", nil)} {
		if caller, err := identify(t.Context(), by, token); err == nil || isUnavailable(err) {
			t.Errorf("Identify = %+v, %v, want a refusal", caller, err)
		}
		claims, err := parse(token)
		if err != nil {
			t.Fatal(err)
		}
		if err := by.review.check(t.Context(), claims); err == nil || isUnavailable(err) {
			t.Errorf("the review says %v, want a refusal", err)
		}
	}
}

// A broker that may not ask, or has no valid token of its own, accepts no caller, and
// does not blame the caller.
func TestRealTokenReviewIsForbidden(t *testing.T) {
	c := newRealCluster(t)
	token := c.token("runner", audience, nil)
	for what, tokenFile := range map[string]string{
		"an account without the right": c.File("other", c.Token(c.namespace, "no-reviewer", nil)),
		"not a token":                  c.File("none", "nonsense"),
	} {
		if caller, err := identify(t.Context(), c.identifier(t, tokenFile), token); !isUnavailable(err) || !strings.Contains(err.Error(), "the broker cannot ask the cluster whether the token is still valid") {
			t.Errorf("%s: Identify = %+v, %v, want a refusal with 503 for want of a review", what, caller, err)
		}
	}
	if _, err := identify(t.Context(), c.identifier(t, c.brokerToken), token); err != nil {
		t.Errorf("the same token, before a broker that may ask: Identify = %v", err)
	}
}
