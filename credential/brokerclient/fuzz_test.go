package brokerclient

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/credentialtest"
)

// Whatever a broker answers, the result is a whole token or none.
func FuzzRead(f *testing.F) {
	s := &Source{name: "https://broker.example"}
	r := api.TokenRequest{Host: "github.com", Repo: api.Repo{Owner: "acme", Name: "widgets"}, Operation: api.Read}
	good, err := api.EncodeAnswer(credentialtest.FreshAnswer(1, r))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(200, "application/json", good)
	f.Add(200, "application/json", []byte(`{"token":"a b","expires_at":"9999-01-01T00:00:00Z","username":"a:b"}`))
	f.Add(403, "application/problem+json", []byte(`{"detail":"\u202e"}`))
	f.Add(503, "text/html", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		response := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}}
		token, err := s.read(r, response, body)
		if (err == nil) == token.IsZero() {
			t.Fatalf("read = %v, %v, want one of the two", token, err)
		}
		if err == nil && (credential.CheckSecret(token.Secret()) != nil || !token.Expiry.After(time.Now()) || strings.ContainsAny(token.Login(), "\n\r\x00")) {
			t.Errorf("read = %q for %q, which is no token", token.Secret(), token.Login())
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
			t.Errorf("the error %q is more than a line", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	for _, s := range []string{
		"broker+https://broker.example:8443/base?identity_file=/run/{workspace}", "broker+unix:///run/b.sock?owner=0",
		"broker+https://[::1]:8443", "broker+unix:///{owner}", "broker+https://a@b", "broker+https://%zz",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil || strings.Contains(raw, "ca_file") { // which names a file to read
			return
		}
		s, err := Open(u, "sb-1")
		if err != nil {
			return
		}
		if !strings.HasPrefix(s.base, "https://") && s.base != "http://localhost" {
			t.Errorf("Open(%q) asks %q", raw, s.base)
		}
	})
}
