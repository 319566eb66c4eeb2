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

// A Route is how the broker connects to GitHub and its storage, for the gateway and for
// minting. The zero Route connects directly. The environment's proxy settings are
// ignored.
type Route struct {
	// Proxy is an http:// or https:// proxy, used by HTTP CONNECT; the TLS connection
	// is with GitHub itself. If the proxy does not answer, requests fail. Nil means no
	// proxy.
	Proxy *url.URL
	// Login returns USER:PASSWORD for the proxy. It is called for each connection; nil
	// means that the proxy needs no login.
	Login func() (string, error)
	// Direct are the hosts to connect to without the proxy: a host, or "*." and a name
	// for every host below it.
	Direct []string
	// Roots are the certificate authorities for servers and for an https:// proxy; nil
	// means the system's.
	Roots *x509.CertPool
}

// Apply makes a transport use the route.
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

// header returns the extra headers of a CONNECT request.
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

// isProxy reports whether address, which is about to be dialed, is the proxy's.
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

// Through makes the upstream use a route. Call it before Do.
func (u *Upstream) Through(r Route) {
	guarded := u.transport.DialContext
	u.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if r.isProxy(address) { // the configuration names it, so it may have a private address
			return dialer().DialContext(ctx, network, address)
		}
		return guarded(ctx, network, address)
	}
	r.Apply(u.transport)
}
