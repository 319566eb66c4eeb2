// Package connectproxy is a proxy like those between companies and the internet: it
// opens connections (HTTP CONNECT), and may require a login.
package connectproxy

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Proxy is a listening proxy.
type Proxy struct {
	URL string // http://127.0.0.1:PORT

	login string
	mu    sync.Mutex // guards the rest
	to    []string
	lead  string
}

// LeadTo leads every name with port 443 to another address, like a resolver for tests.
func (p *Proxy) LeadTo(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lead = address
}

// New returns a proxy that is closed when the test ends. login is USER:PASSWORD; ""
// means that none is required.
func New(t testing.TB, login string) *Proxy {
	p := &Proxy{login: login}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Address returns URL, parsed.
func (p *Proxy) Address() *url.URL {
	address, err := url.Parse(p.URL)
	if err != nil {
		panic(err) // httptest made it
	}
	return address
}

// Targets returns what the proxy connected to, as HOST:PORT, in order.
func (p *Proxy) Targets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.to)
}

// ServeHTTP handles CONNECT. It refuses everything else.
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
	upstream, err := net.DialTimeout("tcp", p.address(r.Host), 10*time.Second)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer upstream.Close()
	w.WriteHeader(http.StatusOK)
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(upstream, buffered); _ = upstream.(*net.TCPConn).CloseWrite() }) // either side may close first
	both.Go(func() { _, _ = io.Copy(client, upstream); _ = client.(*net.TCPConn).CloseWrite() })
	both.Wait()
}

// address returns the address that a target leads to, and records the target.
func (p *Proxy) address(target string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = append(p.to, target)
	if p.lead != "" && strings.HasSuffix(target, ":443") {
		return p.lead
	}
	return target
}

func (p *Proxy) knows(shown string) bool {
	if p.login == "" {
		return true
	}
	user, password, ok := (&http.Request{Header: http.Header{"Authorization": {shown}}}).BasicAuth()
	return ok && user+":"+password == p.login
}
