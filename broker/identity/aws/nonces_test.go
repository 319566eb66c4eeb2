package aws

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/test/ststest"
)

func checkBusy(t *testing.T, name string, err error) {
	t.Helper()
	if r, ok := errors.AsType[*broker.Refusal](err); !ok || r.Status != http.StatusServiceUnavailable || r.RetryAfter == 0 || r.Reason == "" {
		t.Errorf("%s: %v, want 503, when to come back, and why", name, err)
	}
}

// Calls that have ended make room for others.
func TestProofsAtATimeAreBounded(t *testing.T) {
	w := newWorld(t)
	for n := range maxCalls + 1 {
		if _, err := w.identify(w.sign("eu-west-1", serverID, w.nonce(), nil)); err != nil {
			t.Fatalf("proof %d: %v", n, err)
		}
	}
	for range maxCalls {
		w.calls.Acquire("192.0.2.1", 1, func() {}) // the address of w's requests
	}
	asked := len(w.sts.Calls())
	_, err := w.identify(w.sign("eu-west-1", serverID, w.nonce(), nil))
	checkBusy(t, "one too many", err)
	if n := len(w.sts.Calls()) - asked; n != 0 {
		t.Errorf("STS was asked %d times, want never", n)
	}
}

// half answers with the beginning of a correct answer.
type half struct{}

func (half) RoundTrip(*http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(ststest.Answer(session)), iotest.ErrReader(io.ErrUnexpectedEOF))
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(body)}, nil
}

func TestAnAnswerThatBreaksOffIsNone(t *testing.T) {
	w := newWorld(t)
	w.Transport = half{}
	_, err := w.identify(w.sign("eu-west-1", serverID, w.nonce(), nil))
	checkBusy(t, "half an answer", err)
}

func TestNoncesNeedTheirKeys(t *testing.T) {
	w := newWorld(t)
	nonce := w.nonce()
	w.nonces.Keys = new(identity.Keyset)
	checkBusy(t, "a nonce that cannot be looked at", w.nonces.MarkUsed(t.Context(), nonce))
	if text, _, err := w.nonces.Make(t.Context()); err == nil || text != "" {
		t.Errorf("Make = %q, %v, want an error", text, err)
	}
}

// A nonce of a replica whose clock is a little ahead is valid. One from further ahead
// is not, nor is a text that was sealed as a nonce but is none.
func TestNoncesOfAnotherTime(t *testing.T) {
	w := newWorld(t)
	clock := w.clock.Truncate(time.Second)
	for _, c := range []struct {
		ahead time.Duration
		want  error
	}{
		{0, nil},
		{nonceSkew, nil},
		{nonceSkew + time.Second, errNonce},
		{-NonceLife + time.Second, nil},
		{-NonceLife, errNonce},
	} {
		w.clock = clock.Add(c.ahead)
		nonce := w.nonce()
		w.clock = clock
		if err := w.nonces.MarkUsed(t.Context(), nonce); !errors.Is(err, c.want) {
			t.Errorf("a nonce made %v from now: MarkUsed = %v, want %v", c.ahead, err, c.want)
		}
	}
	short, err := w.nonces.Keys.Seal(t.Context(), purpose, []byte("short"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.nonces.MarkUsed(t.Context(), short); !errors.Is(err, errNonce) {
		t.Errorf("MarkUsed of what is no nonce = %v, want %v", err, errNonce)
	}
}

// An address that has all running calls of STS loses one to another address.
func TestOneCallerDoesNotUseAllCalls(t *testing.T) {
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
		one() // requests of httptest come from this address
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

// hanging is an STS that hangs in China.
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
