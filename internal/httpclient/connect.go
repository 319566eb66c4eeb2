package httpclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Transport returns one that gives up on dead peers soon and uses no proxy. An
// answer's length is what the server sent, since nothing is decompressed.
func Transport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// Roots returns the authorities of a PEM file, which take the place of the
// system's; nil, the system's, without a file. setting is what names the file,
// as in "ca_file in the source".
func Roots(path, setting string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usererr.Wrap("read the certificates", err, "correct "+setting)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, usererr.New("read the certificates "+path, "it holds no certificate in PEM form", "correct "+setting)
	}
	return roots, nil
}

// IsCertificate reports that the server's certificate could not be trusted.
func IsCertificate(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, hostname := errors.AsType[x509.HostnameError](err)
	return verification || authority || hostname
}

// IsHandshake reports that there was no TLS to be had, or none both sides want.
func IsHandshake(err error) bool {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	operation, ok := errors.AsType[*net.OpError](err)
	remoteAlert := ok && operation.Op == "remote error" // how crypto/tls reports the peer's alert
	return record || alert || remoteAlert || errors.Is(err, http.ErrSchemeMismatch)
}

// IsUnknownHost reports that DNS knows no such name.
func IsUnknownHost(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// A Lazy opens a client when it is first needed and keeps it until it is dropped.
type Lazy[C any] struct {
	mu     sync.Mutex // guards client; held while it is opened
	client *C
}

// Get returns the client, which open makes if there is none.
func (l *Lazy[C]) Get(ctx context.Context, open func(context.Context) (*C, error)) (*C, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		return l.client, nil
	}
	c, err := open(ctx)
	if err != nil {
		return nil, err
	}
	l.client = c
	return c, nil
}

// Use has Get return c; for tests.
func (l *Lazy[C]) Use(c *C) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client = c
}

// Drop forgets c and reports whether it was kept. The next Get reads the credentials
// anew: others may be there by then.
func (l *Lazy[C]) Drop(c *C) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != c {
		return false
	}
	l.client = nil
	return true
}
