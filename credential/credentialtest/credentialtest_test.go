package credentialtest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
)

var (
	_ credential.Source = (*Source)(nil)
	_ credential.Keyer  = (*Source)(nil)
)

func TestSourceFollowsItsScript(t *testing.T) {
	var s Source
	down := errors.New("down")
	s.FailNext(down, nil, credential.ErrNoCredential)
	for i, want := range []error{down, nil, credential.ErrNoCredential, nil} {
		token, err := s.Token(t.Context(), credential.Request{Host: "github.com"})
		if !errors.Is(err, want) || (err == nil) == token.IsZero() {
			t.Errorf("call %d = %v, %v, want error %v", i+1, token, err, want)
		}
		if err == nil && (token.Secret() != Secret(i+1) || time.Until(token.Expiry) < 59*time.Minute) {
			t.Errorf("call %d = %q until %v, want a fresh token for an hour", i+1, token.Secret(), token.Expiry)
		}
	}
	if s.Calls() != 4 || s.Requests()[0].Host != "github.com" {
		t.Errorf("Calls = %d, Requests = %v, want 4 for github.com", s.Calls(), s.Requests())
	}
	if err := credential.CheckSecret(Secret(1)); err != nil || len(Secret(1)) != 40 {
		t.Errorf("Secret(1) = %q, want 40 letters of a token: %v", Secret(1), err)
	}
}

func TestSourceIsSafeForGoroutines(t *testing.T) {
	var s Source
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _, _ = s.Token(t.Context(), credential.Request{}) })
	}
	wg.Wait()
	if s.Calls() != 8 {
		t.Errorf("Calls = %d, want 8", s.Calls())
	}
}

func call(t *testing.T, b *Broker, path, identity, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", api.MediaType)
	if identity != "" {
		r.Header.Set("Authorization", "Bearer "+identity)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

func TestBrokerKeepsTheContract(t *testing.T) {
	good := `{"host":"github.com","repo":"acme/widgets","operation":"write"}`
	b := &Broker{Identities: map[string]string{"me": "sb-1"}}
	for _, c := range []struct {
		name, path, identity, body string
		want                       int
	}{
		{"a good request", api.TokenPath, "me", good, 200},
		{"a host that is not served", api.TokenPath, "me", strings.Replace(good, "github.com", "ghe.example", 1), 204},
		{"no identity", api.TokenPath, "", good, 401},
		{"another identity", api.TokenPath, "you", good, 401},
		{"another path", "/v2/token", "me", good, 404},
		{"an unknown key", api.TokenPath, "me", `{"host":"github.com","x":""}`, 400},
		{"a large request", api.TokenPath, "me", strings.Repeat(" ", api.MaxRequest+1), 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := call(t, b, c.path, c.identity, c.body)
			if w.Code != c.want {
				t.Errorf("status = %d %s, want %d", w.Code, w.Body, c.want)
			}
		})
	}
	if got := len(b.Invalid()); got != 3 || b.Calls() != 7 || len(b.Requests()) != 2 {
		t.Errorf("Invalid = %v, Calls = %d, Requests = %v, want 3, 7, 2", b.Invalid(), b.Calls(), b.Requests())
	}
}

func TestBrokerMints(t *testing.T) {
	b := &Broker{Identities: map[string]string{"me": "sb-1"}}
	b.Mint = func(workspace string, r api.TokenRequest) (api.TokenAnswer, error) {
		if workspace != "sb-1" || r.Operation != api.Read {
			return api.TokenAnswer{}, api.NewProblem(403, "read only")
		}
		return FreshAnswer(7, r), nil
	}
	w := call(t, b, api.TokenPath, "me", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`)
	answer, err := api.DecodeAnswer(w.Body.Bytes())
	if err != nil || answer.Token.Reveal() != Secret(7) || !slices.Equal(answer.Repositories, []string{"acme/widgets"}) {
		t.Errorf("answer = %+v, %v, want token 7 for acme/widgets", answer, err)
	}
	w = call(t, b, api.TokenPath, "me", `{"host":"github.com","repo":"acme/widgets","operation":"write"}`)
	if p := api.DecodeProblem(w.Header().Get("Content-Type"), w.Body.Bytes()); w.Code != 403 || p.Detail != "read only" {
		t.Errorf("answer = %d %+v, want 403 read only", w.Code, p)
	}
}

func TestBrokerFailsOnDemand(t *testing.T) {
	var b Broker
	b.FailNext(Busy(3), Failure{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })})
	good := `{"host":"github.com","repo":"acme/widgets","operation":"write"}`
	if w := call(t, &b, api.TokenPath, "", good); w.Code != 503 || w.Header().Get("Retry-After") != "3" {
		t.Errorf("first answer = %d %v, want 503 and Retry-After 3", w.Code, w.Header())
	}
	if w := call(t, &b, api.TokenPath, "", good); w.Body.String() != "<html>" {
		t.Errorf("second answer = %q, want <html>", w.Body)
	}
	if w := call(t, &b, api.TokenPath, "", good); w.Code != 200 {
		t.Errorf("third answer = %d, want 200", w.Code)
	}
}
