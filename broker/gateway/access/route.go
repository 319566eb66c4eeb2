package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Route is how the broker reaches GitHub and its storage, for the gateway and for
// minting alike. The zero Route is the direct one. The environment's proxy settings are no
// part of it.
type Route struct {
	// Proxy is asked to connect (HTTP CONNECT), by http:// or https://. TLS is with GitHub
	// itself. Where the proxy does not answer, nothing is reached. nil is no proxy.
	Proxy *url.URL
	// Login returns USER:PASSWORD for the proxy. It is called for each connection; nil means
	// that the proxy wants none.
	Login func() (string, error)
	// Direct are the hosts that are reached without the proxy: a host, or "*." and a name
	// for every host below it.
	Direct []string
	// Roots are the authorities that servers, and an https:// proxy, are trusted by, instead
	// of the system's; nil means the system's.
	Roots *x509.CertPool
}

// Apply has a transport take the route.
func (r Route) Apply(t *http.Transport) {
	t.Proxy = nil
	if r.Roots != nil {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if t.TLSClientConfig != nil {
			config = t.TLSClientConfig.Clone()
		}
		config.RootCAs = r.Roots
		t.TLSClientConfig = config
	}
	if r.Proxy == nil {
		return
	}
	t.Proxy = func(request *http.Request) (*url.URL, error) {
		if r.isDirect(request.URL.Hostname()) {
			return nil, nil
		}
		return r.Proxy, nil
	}
	t.GetProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) { return r.header() }
}

// header is what the proxy is told beside what to connect to.
func (r Route) header() (http.Header, error) {
	if r.Login == nil {
		return nil, nil
	}
	login, err := r.Login()
	if err != nil {
		return nil, err
	}
	return http.Header{"Proxy-Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(login))}}, nil
}

// isProxy reports whether an address to dial is the proxy's.
func (r Route) isProxy(address string) bool {
	if r.Proxy == nil {
		return false
	}
	port := r.Proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[r.Proxy.Scheme]
	}
	return address == net.JoinHostPort(r.Proxy.Hostname(), port)
}

func (r Route) isDirect(host string) bool {
	host = strings.ToLower(host)
	return slices.ContainsFunc(r.Direct, func(one string) bool {
		below, ok := strings.CutPrefix(one, "*.")
		return one == host || ok && strings.HasSuffix(host, "."+below)
	})
}

// Through has the upstream be reached by a route. It is called before Do.
func (u *Upstream) Through(r Route) {
	guarded := u.transport.DialContext
	u.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if r.isProxy(address) { // it may have a private address, and is named by the configuration
			return dialer().DialContext(ctx, network, address)
		}
		return guarded(ctx, network, address)
	}
	r.Apply(u.transport)
}
