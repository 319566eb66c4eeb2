package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/mint"
)

// UserAgent is the gateway's User-Agent. GitHub answers git requests only if it begins
// with "git/".
const UserAgent = "git/2.47.0 gatepass-gateway"

// An Upstream is the GitHub behind the gateway. Make it with [NewUpstream].
type Upstream struct {
	Git *url.URL // https://github.com
	API *url.URL // https://api.github.com, or https://HOST/api/v3

	transport *http.Transport
}

// NewUpstream returns the upstream for the GitHub at a URL such as https://github.com.
//
// Connections use HTTP/1.1: for packs it costs a third less than HTTP/2, and transfers
// of different workspaces do not share a connection's flow control. The environment's
// proxy settings are ignored; see Through.
func NewUpstream(github string) (*Upstream, error) {
	api, err := mint.APIURL(github)
	if err != nil {
		return nil, err
	}
	u := new(Upstream)
	if u.Git, err = url.Parse(strings.TrimSuffix(github, "/")); err != nil {
		return nil, err
	}
	if u.API, err = url.Parse(api); err != nil {
		return nil, err
	}
	direct := dialer()
	if isPublic(u.Git.Hostname()) {
		direct.Control = onlyPublic
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	u.transport = &http.Transport{
		DialContext: direct.DialContext, Protocols: protocols, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 10 * time.Second,
		DisableCompression: true, MaxIdleConns: 256, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, ReadBufferSize: readSize, WriteBufferSize: writeSize,
		ExpectContinueTimeout: time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	return u, nil
}

func dialer() *net.Dialer { return &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second} }

// The buffers of a connection, in bytes. Reads of packs bypass the read buffer, because
// they ask for at least one TLS record. Two TLS records of a pack fill the write
// buffer.
const (
	readSize  = 16 << 10
	writeSize = 32 << 10
)

// Trust makes these authorities the only ones that GitHub's certificate is verified
// with, instead of the machine's. Call it before Do.
func (u *Upstream) Trust(roots *x509.CertPool) { u.transport.TLSClientConfig.RootCAs = roots }

// Do sends one request. It follows no redirect, and does not read the answer's body.
func (u *Upstream) Do(r *http.Request) (*http.Response, error) { return u.transport.RoundTrip(r) }

// TokenEnded returns the refusal of a request that GitHub answered 401 because the token
// was revoked there. The broker has dropped the token.
func TokenEnded() *broker.Refusal {
	return &broker.Refusal{
		Status: http.StatusServiceUnavailable, Reason: broker.ReasonGitHub, RetryAfter: time.Second,
		Detail: "the broker's token was revoked at GitHub; try again, and it gets another one",
	}
}

// isPublic reports whether host is a GitHub with public addresses.
func isPublic(host string) bool { return host == "github.com" || strings.HasSuffix(host, ".ghe.com") }

// onlyPublic refuses private addresses, so that a malicious resolver cannot send tokens
// into a private network.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := to.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || carrierNAT.Contains(ip) {
		return fmt.Errorf("%s is not a public address: %w", ip, errPrivate)
	}
	return nil
}

// carrierNAT is the address range for carriers' NAT (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

var errPrivate = errors.New("GitHub's name resolves to a private address")

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
