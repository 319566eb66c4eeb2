package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// UserAgent is what the gateway calls itself. GitHub answers git only to agents that begin
// with "git/".
const UserAgent = "git/2.47.0 gatepass-gateway"

// An Upstream is the GitHub behind the gateway. Make it with [NewUpstream].
type Upstream struct {
	Git *url.URL // https://github.com
	API *url.URL // https://api.github.com, or https://HOST/api/v3

	transport *http.Transport
}

// NewUpstream returns the GitHub that people call by that URL, such as https://github.com.
//
// Connections use HTTP/1.1: it costs a third less than HTTP/2 for packs, and transfers of
// different workspaces do not share a connection's flow control. The environment's proxy
// settings do not apply; see Through.
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

// The buffers of a connection, in bytes. Reads of packs pass by theirs, as they ask for one
// record of TLS at least. Two records of a pack fill the other.
const (
	readSize  = 16 << 10
	writeSize = 32 << 10
)

// Trust has GitHub's certificate checked against these authorities alone, and not against
// those of the machine. It is called before Do.
func (u *Upstream) Trust(roots *x509.CertPool) { u.transport.TLSClientConfig.RootCAs = roots }

// Do sends one request. It follows no redirect, and does not read the body of the answer.
func (u *Upstream) Do(r *http.Request) (*http.Response, error) { return u.transport.RoundTrip(r) }

// isPublic reports whether a GitHub is one that everybody reaches: its addresses are public.
func isPublic(host string) bool { return host == "github.com" || strings.HasSuffix(host, ".ghe.com") }

// onlyPublic keeps a resolver that lies from leading tokens into a private network.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := to.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || carrierNAT.Contains(ip) {
		return fmt.Errorf("%s is no public address: %w", ip, errPrivate)
	}
	return nil
}

// carrierNAT is shared by the customers of a network (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

var errPrivate = errors.New("GitHub's name resolves to a private address")
