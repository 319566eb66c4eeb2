package httpclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
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
