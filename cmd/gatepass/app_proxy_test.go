package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// tunnel is a proxy of the kind that companies have: it passes on CONNECT, and
// takes every name to the double.
type tunnel struct {
	to    string // host:port of the double
	calls atomic.Int64
}

func (p *tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	p.calls.Add(1)
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(far, buffered) }()
	_, _ = io.Copy(near, far)
}

// An Enterprise Server behind a proxy, with a certificate of a private
// authority: SSL_CERT_FILE and HTTPS_PROXY are all it takes.
func TestAPrivateAuthorityAndAProxy(t *testing.T) {
	t.Parallel() // it waits
	w := newAppWorld(t)
	p := &tunnel{to: w.Host()}
	proxy := httptest.NewServer(p)
	t.Cleanup(proxy.Close)
	_, port, err := net.SplitHostPort(w.Host())
	if err != nil {
		t.Fatal(err)
	}
	// Go asks no proxy for this machine's own addresses, so it has to have
	// another name: with a dot at its end, which the certificate allows.
	w.variables = []string{"HTTPS_PROXY=" + proxy.URL, "GATEPASS_GITHUB_URL=https://localhost.:" + port}
	args := []string{"--app-client-id", w.app.ClientID, "--private-key-file", w.key}
	out, errs, status := w.check(t, args...)
	if status != 0 || p.calls.Load() == 0 || !strings.Contains(out, "the key belongs to the App") {
		t.Errorf("check through a proxy = %d, %q, %q after %d calls of the proxy, want the App", status, out, errs, p.calls.Load())
	}
	w.ca = "/dev/null"
	if _, errs, status := w.check(t, args...); status != 1 || !strings.Contains(errs, "certificate") {
		t.Errorf("check without the authority = %d, %q, want a refusal of the certificate", status, errs)
	}
}
