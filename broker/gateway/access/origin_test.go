package access

import (
	"crypto/tls"
	"net/http"
	"testing"
)

func TestOrigin(t *testing.T) {
	for _, test := range []struct {
		host, want string
		isTLS      bool
	}{
		{"broker.example", "https://broker.example", true},
		{"broker.example:8443", "https://broker.example:8443", true},
		{"broker.example", "https://broker.example", false},
		{"127.0.0.1:8080", "http://127.0.0.1:8080", false},
		{"localhost:8080", "http://localhost:8080", false},
		{"[::1]:8080", "http://[::1]:8080", false},
		{"127.0.0.1:8080", "https://127.0.0.1:8080", true},
		{"127.evil.example", "https://127.evil.example", false},
		{"a b", "", false},
		{"x/y", "", false},
		{"", "", false},
	} {
		r := &http.Request{Host: test.host}
		if test.isTLS {
			r.TLS = new(tls.ConnectionState)
		}
		if got, ok := Origin(r); got != test.want || ok != (test.want != "") {
			t.Errorf("Origin of %q (TLS %t) = %q, %t, want %q", test.host, test.isTLS, got, ok, test.want)
		}
	}
}
