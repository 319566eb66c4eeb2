package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/broker/identity"
)

// Two replicas behind one address, each request at another one: both accept a session
// of either, git notices nothing, and a block at one holds at the other.
func TestTwoReplicas(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two gateways")
	}
	t.Parallel()
	w := newWorld(t, agents)
	first := w.Access.Broker
	other := broker.New(first.Config)
	shared := &access.Access{
		Broker: other, Upstream: w.Access.Upstream,
		Sessions: &identity.GatewaySessions{Keys: &identity.Keyset{Store: first.Store, Now: w.Now}, Now: w.Now},
	}
	replicas := []http.Handler{
		w.gateway.Handler(first.Handler()),
		gateway.New(shared, func() gateway.Settings { return *w.settings.Load() }, rest.Options{}).Handler(other.Handler()),
	}
	var n atomic.Int64
	balancer := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		replicas[n.Add(1)%2].ServeHTTP(rw, r)
	}))
	t.Cleanup(balancer.Close)
	w.url = balancer.URL
	w.clone()
	w.grow(2 << 20) // makes git send a probe first
	for _, ref := range []string{"a", "b"} {
		if out, ok := w.git("push", "origin", "HEAD:refs/heads/agent/sb-agent/"+ref); !ok {
			t.Errorf("git push: %s", out)
		}
		if out, ok := w.git("push", "origin", "HEAD:main"); ok || !strings.Contains(out, "[remote rejected] HEAD -> main (gatepass: ") {
			t.Errorf("a refused git push: %s", out)
		}
	}
	if err := first.Blocklist.Block(t.Context(), "sb-agent"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // the other replica looks once a second
	for range 4 {
		if out, ok := w.git("ls-remote", "origin"); ok || !strings.Contains(out, "sb-agent is blocked") {
			t.Errorf("git ls-remote of a blocked workspace (exit 0: %v): %s", ok, out)
		}
	}
}
