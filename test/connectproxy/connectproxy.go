// Package connectproxy is a proxy as companies have one before the internet: it connects
// (HTTP CONNECT), and may want a login.
package connectproxy

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// A Proxy is one that listens.
type Proxy struct {
	URL string // http://127.0.0.1:PORT

	login string
	mu    sync.Mutex // guards the rest
	to    []string
}

// New returns a proxy that ends with the test. login is USER:PASSWORD; "" wants none.
func New(t testing.TB, login string) *Proxy {
	p := &Proxy{login: login}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Targets are what it connected to, as HOST:PORT, in their order.
func (p *Proxy) Targets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.to)
}

// ServeHTTP connects. Everything else is refused.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodConnect:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case !p.knows(r.Header.Get("Proxy-Authorization")):
		w.Header().Set("Proxy-Authenticate", "Basic realm=proxy")
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	upstream, err := net.DialTimeout("tcp", r.Host, 10*time.Second)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer upstream.Close()
	p.mu.Lock()
	p.to = append(p.to, r.Host)
	p.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(upstream, buffered); _ = upstream.(*net.TCPConn).CloseWrite() }) // either end may go first
	both.Go(func() { _, _ = io.Copy(client, upstream); _ = client.(*net.TCPConn).CloseWrite() })
	both.Wait()
}

func (p *Proxy) knows(shown string) bool {
	if p.login == "" {
		return true
	}
	user, password, ok := (&http.Request{Header: http.Header{"Authorization": {shown}}}).BasicAuth()
	return ok && user+":"+password == p.login
}
