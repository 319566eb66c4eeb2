package vaultstore

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/store"
)

// A meter passes calls on to Vault, and records those about entries.
type meter struct {
	mu    sync.Mutex // guards calls
	calls []string
}

func (m *meter) before(t *testing.T, v *vault) (address string) {
	t.Helper()
	to, err := url.Parse(v.address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/data/") {
			m.mu.Lock()
			m.calls = append(m.calls, r.Method)
			m.mu.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// take returns the calls since the last call of take.
func (m *meter) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = nil
	return calls
}

// A workspace waits for each of these calls: a token is recorded before it is given
// out.
func TestRealCallsOfAPut(t *testing.T) {
	v := realVault(t)
	const write, read = http.MethodPost, http.MethodGet
	for _, c := range []struct {
		name     string
		isStrict bool // the engine requires check-and-set
		replace  []string
	}{
		{"an engine as Vault makes it", false, []string{write}},
		{"one that requires check-and-set", true, []string{write, read, write}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mount := v.kv("-"+strings.Fields(c.name)[0], "2")
			if c.isStrict {
				v.post(mount+"/config", map[string]any{"cas_required": true})
			}
			m := new(meter)
			s := openStore(t, "vault://"+mount+"?addr="+m.before(t, v))
			if err := s.Put(t.Context(), store.Signer(), store.NewSecret("1"), store.CreateOnly); err != nil {
				t.Fatal(err)
			}
			if calls := m.take(); !slices.Equal(calls, []string{write}) {
				t.Errorf("CreateOnly makes the calls %q, want one write", calls)
			}
			if err := s.Put(t.Context(), store.Signer(), store.NewSecret("2"), store.Replace); err != nil {
				t.Fatal(err)
			}
			if calls := m.take(); !slices.Equal(calls, c.replace) {
				t.Errorf("Replace makes the calls %q, want %q", calls, c.replace)
			}
			if e, err := s.Get(t.Context(), store.Signer()); err != nil || e.Value.Reveal() != "2" {
				t.Errorf("Get = %q, %v, want what was written last", e.Value.Reveal(), err)
			}
		})
	}
}
