package aws

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// An address that has all calls of STS under way loses one to another that comes.
func TestNobodyHasAllCalls(t *testing.T) {
	w := newWorld(t)
	end := make(chan struct{})
	defer close(end)
	w.Transport = hanging{end, w.sts}
	lost := make(chan error, maxCalls)
	for range maxCalls {
		r := w.request(w.sign("cn-north-1", serverID, w.nonce(), nil))
		go func() {
			_, err := w.Identify(t.Context(), r)
			lost <- err
		}()
	}
	full := time.Now()
	for one, ok := w.calls.Acquire("192.0.2.1", 1, func() {}); ok && time.Since(full) < time.Minute; one, ok = w.calls.Acquire("192.0.2.1", 1, func() {}) {
		one() // httptest's requests come from this address
		time.Sleep(time.Millisecond)
	}
	if _, err := w.identify(w.sign("eu-west-1", serverID, w.nonce(), nil)); err == nil || !strings.Contains(err.Error(), "too many proofs") {
		t.Errorf("one more of the same address: %v, want too many proofs", err)
	}
	r := w.request(w.sign("eu-west-1", serverID, w.nonce(), nil))
	r.RemoteAddr = "198.51.100.7:1234"
	if who, err := w.Identify(t.Context(), r); err != nil || who.Method != Method {
		t.Errorf("another address: %+v, %v, want its identity", who, err)
	}
	select {
	case err := <-lost:
		if r, ok := errors.AsType[*broker.Refusal](err); !ok || r.Reason != broker.ReasonLimit {
			t.Errorf("the call that makes way: %v, want the limit as the reason", err)
		}
	case <-time.After(time.Minute):
		t.Error("no call makes way")
	}
}

// hanging is an STS that does not answer in China.
type hanging struct {
	end  <-chan struct{}
	next http.RoundTripper
}

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Host, ".cn") {
		return h.next.RoundTrip(r)
	}
	select {
	case <-h.end:
	case <-r.Context().Done():
	}
	return nil, errors.New("no answer")
}
