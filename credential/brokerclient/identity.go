package brokerclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

// identity is the place of the bearer identity. It may be rotated at any time, like a
// projected service account token, so it is read for every call.
type identity struct {
	file     string // "" means the environment variable
	optional bool   // over a socket
}

func newIdentity(file, workspace string, optional bool) (identity, error) {
	file, err := fixed(file, workspace)
	return identity{file: file, optional: optional}, err
}

// where names the place for error messages.
func (id identity) where() string {
	if id.file == "" {
		return "the variable " + IdentityVariable
	}
	return id.file
}

// authorization returns the header of one call.
func (id identity) authorization(context.Context) (string, error) {
	text, err := id.read()
	if err != nil || text == "" {
		return "", err
	}
	return "Bearer " + text, nil
}

// read returns the identity; "" if none is needed. A file that cannot be read is an
// error; read does not fall back to the variable.
func (id identity) read() (string, error) {
	if id.file == "" {
		return id.check(os.Getenv(IdentityVariable))
	}
	text, err := readFile(id.file)
	if err != nil {
		return "", usererr.Wrap("read the identity "+id.file, err, "correct identity_file in the source")
	}
	return id.check(text)
}

// readFile reads a file up to slightly more than the longest secret.
func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		if pathErr, ok := errors.AsType[*os.PathError](err); ok {
			err = pathErr.Err // the path is named already
		}
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, credential.MaxToken+2))
	if err != nil {
		return "", errors.New("it cannot be read")
	}
	return string(data), nil
}

func (id identity) check(text string) (string, error) {
	text = strings.TrimSuffix(text, "\n")
	if text == "" && id.file == "" {
		if id.optional {
			return "", nil
		}
		return "", usererr.New("ask the broker", "this workspace has no identity",
			"add identity_file=PATH to the source or set "+IdentityVariable)
	}
	if credential.CheckSecret(text) != nil {
		return "", usererr.New("read the identity in "+id.where(), "it is not a bearer token: it is empty, has spaces or control characters, or is over 8 KiB",
			"write the bare token there")
	}
	return text, nil
}

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
		return false, usererr.New("source "+name, "it has only one of cert_file and key_file", "add the other one; both may name the same file")
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
	return errors.New("it or its key is not in PEM form, or the key belongs to another certificate")
}

// challenged is a proof that contains a nonce of the broker.
type challenged struct {
	source           *Source
	method, serverID string
	prove            Prover
}

func (c *challenged) where() string { return "the identity of auth=" + c.method + "" }

func (c *challenged) authorization(ctx context.Context) (string, error) {
	s := c.source
	response, body, err := s.call(ctx, http.MethodGet, api.NoncePath, "", nil)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", s.unanswered(response, body, "it does not give nonces")
	}
	answer, err := api.DecodeNonce(body)
	if err != nil {
		return "", s.unexpectedAnswer(err.Error())
	}
	return c.prove(ctx, c.serverID, answer.Nonce)
}

// unanswered returns the error for an unexpected answer.
func (s *Source) unanswered(response *http.Response, body []byte, why string) error {
	problem := api.DecodeProblem(response.Header.Get("Content-Type"), body)
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500 {
		return s.busy(response, problem)
	}
	return s.unexpectedAnswer(fmt.Sprintf("%s (%d)", why, response.StatusCode) + reasonText(problem))
}
