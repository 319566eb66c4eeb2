package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker/gateway"
)

func TestEcho(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	ask := func(session, method, target, body string) (int, http.Header, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, w.url+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("x", session)
		r.Header.Set("Git-Protocol", "version=2")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, response.Header, string(text)
	}
	status, header, text := ask(w.session, "POST", "/v1/echo/a%2Fb?x", "0123456789")
	got, err := api.DecodeEcho([]byte(text))
	want := api.Echo{Protocol: "HTTP/1.1", Host: strings.TrimPrefix(w.url, "http://"), Target: "/v1/echo/a%2Fb?x", GitProtocol: "version=2", Bytes: 10}
	if err != nil || status != 200 || got != want || header.Get(api.EchoHeader) != "echo" || header.Get("Content-Type") != "application/json" {
		t.Errorf("an echo: %d %v %s, want %+v", status, header, text, want)
	}
	for _, c := range []struct {
		name, session, method, target, body string
		status                              int
	}{
		{"without an identity", "gpg_x", "GET", "/v1/echo", "", 401},
		{"too long a silence", w.session, "GET", "/v1/echo?quiet=121", "", 400},
		{"a silence below 0", w.session, "GET", "/v1/echo?pause=-1", "", 400},
		{"another method", w.session, "PUT", "/v1/echo", "", 405},
		{"too large a body", w.session, "POST", "/v1/echo", strings.Repeat("x", api.MaxEcho+1), 413},
		{"the largest body", w.session, "POST", "/v1/echo", strings.Repeat("x", api.MaxEcho), 200},
		{"another path", w.session, "GET", "/v1/echoes", "", 404},
	} {
		if status, header, text := ask(c.session, c.method, c.target, c.body); status != c.status || strings.Contains(text, "gpg_") || (status == 200) == (header.Get("Gatepass-Decision") != "") && c.status != 404 {
			t.Errorf("%s: %d %v %s, want %d", c.name, status, header, text, c.status)
		}
	}
	{
		begun := time.Now()
		if status, _, _ := ask(w.session, "GET", "/v1/echo?quiet=1", ""); status != 200 || time.Since(begun) < time.Second {
			t.Errorf("a second of silence: %d after %v", status, time.Since(begun))
		}
	}
	// It counts as a transfer, so that a workspace cannot open many connections with
	// it.
	w.set(func(s *gateway.Settings) { s.Transfers, s.Rate = 1, 1 })
	if status, _, _ := ask(w.session, "GET", "/v1/echo", ""); status != 200 {
		t.Errorf("the first transfer: %d", status)
	}
	if status, _, _ := ask(w.session, "GET", "/v1/echo", ""); status != 429 {
		t.Errorf("over the rate: %d, want 429", status)
	}
}
