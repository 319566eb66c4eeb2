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

// Transport returns a transport that gives up soon on dead peers and uses no proxy. It
// does not decompress, so an answer's length is what the server sent.
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

// Roots returns the authorities of a PEM file, which replace the system's; nil, for the
// system's, without a file. setting names the setting of the file in errors, such as
// "ca_file in the source".
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
		return nil, usererr.New("read the certificates "+path, "it has no certificate in PEM form", "correct "+setting)
	}
	return roots, nil
}

// IsCertificate reports whether the server's certificate was not trusted.
func IsCertificate(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, hostname := errors.AsType[x509.HostnameError](err)
	return verification || authority || hostname
}

// IsHandshake reports whether the server has no TLS, or no version or parameters that
// both sides accept.
func IsHandshake(err error) bool {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	operation, ok := errors.AsType[*net.OpError](err)
	remoteAlert := ok && operation.Op == "remote error" // how crypto/tls reports the peer's alert
	return record || alert || remoteAlert || errors.Is(err, http.ErrSchemeMismatch)
}

// IsUnknownHost reports whether DNS has no such name.
func IsUnknownHost(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// A Lazy opens a client when it is first needed and keeps it until it is dropped.
type Lazy[C any] struct {
	mu     sync.Mutex // guards client; held while open runs
	client *C
}

// Get returns the client. It calls open if there is none.
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

// Use makes Get return c; for tests.
func (l *Lazy[C]) Use(c *C) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client = c
}

// Drop drops c and reports whether c was the current client. The next Get reads the
// credentials anew: there may be others by then.
func (l *Lazy[C]) Drop(c *C) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != c {
		return false
	}
	l.client = nil
	return true
}
