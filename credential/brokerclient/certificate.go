package brokerclient

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"sync"

	"github.com/gatepass/gatepass/internal/usererr"
)

// certificate is a client certificate in files that may change at any time.
type certificate struct {
	certFile, keyFile string

	mu   sync.Mutex // guards last
	last *tls.Certificate
}

// useCertificate makes t use the certificate that a query names, if any. Every call has
// its own connection, and so uses the certificate of that time.
func useCertificate(name string, t *http.Transport, query map[string]string, workspace string) (ok bool, err error) {
	if query["cert_file"] == "" && query["key_file"] == "" {
		return false, nil
	}
	if query["cert_file"] == "" || query["key_file"] == "" {
		return false, usererr.New("source "+name, "it has one of cert_file and key_file", "name both; they may be one file")
	}
	var c certificate
	if c.certFile, err = fixed(query["cert_file"], workspace); err != nil {
		return false, err
	}
	if c.keyFile, err = fixed(query["key_file"], workspace); err != nil {
		return false, err
	}
	t.DisableKeepAlives = true
	t.TLSClientConfig.GetClientCertificate = c.get
	return true, nil
}

// get reads the files. While the two do not match, as during a change, it returns the
// previous certificate.
func (c *certificate) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	switch {
	case err == nil:
		c.last = &pair
	case c.last == nil:
		return nil, usererr.Wrap("read the client certificate "+c.certFile, readable(err), "correct cert_file and key_file in the source")
	}
	return c.last, nil
}

// readable returns the error about a file, without any of its content.
func readable(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr
	}
	return errors.New("it and its key are not in PEM form, or do not fit together")
}
