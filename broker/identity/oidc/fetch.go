package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxBody bounds an answer, in bytes. The largest key sets of public issuers have about 30
// KB.
const maxBody = 256 << 10

// A server is called with the configured URL only: its certificate must be valid, and
// redirects are not followed.
type server struct {
	caFile  string        // "" means the system's authorities
	timeout time.Duration // for a whole request

	mu     sync.Mutex // guards what follows
	roots  []byte     // those that client trusts
	client *http.Client
}

// dial returns a client that trusts the file's current content.
func (s *server) dial() (*http.Client, error) {
	var roots []byte
	if s.caFile != "" {
		var err error
		if roots, err = trustedfile.Read("the issuer's authorities", s.caFile, trustedfile.Writing, maxBody); err != nil {
			return nil, fmt.Errorf("read the authorities: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil && bytes.Equal(s.roots, roots) {
		return s.client, nil
	}
	transport := httpclient.Transport()
	if s.caFile != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(roots) {
			return nil, fmt.Errorf("%s has no certificate in PEM form", s.caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	s.roots = roots
	s.client = &http.Client{
		Transport: capped{transport}, Timeout: s.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s.client, nil
}

// capped limits the size of answers.
type capped struct{ next http.RoundTripper }

func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(r)
	if err == nil {
		response.Body = &bounded{response.Body, response.Body, maxBody}
	}
	return response, err
}

// CloseIdleConnections lets [http.Client.CloseIdleConnections] work.
func (c capped) CloseIdleConnections() {
	if t, ok := c.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// bounded returns an error when more is read than allowed.
type bounded struct {
	io.Reader
	io.Closer
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("it is longer than %d bytes", maxBody)
	}
	return n, err
}

// published fetches the issuer's keys. Its discovery document says where they are (OpenID
// Connect Discovery 1.0, section 4), and must be of this issuer.
func published(issuer string, from *server) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		client, err := from.dial()
		if err != nil {
			return nil, err
		}
		provider, err := gooidc.NewProvider(gooidc.ClientContext(ctx, client), issuer)
		if err != nil {
			return nil, fmt.Errorf("ask %s for its configuration: %w", issuer, shortened(err))
		}
		var place struct {
			JWKS string `json:"jwks_uri"`
		}
		if provider.Claims(&place) != nil || checkURL("jwks_uri", place.JWKS) != nil {
			return nil, fmt.Errorf("%s does not name an https URL for its keys", issuer)
		}
		data, err := get(ctx, client, place.JWKS)
		if err != nil {
			return nil, fmt.Errorf("fetch the keys of %s: %w", issuer, shortened(err))
		}
		return data, nil
	}
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	// The type of a JWK Set (RFC 7517, section 8.5.1). Kubernetes API servers require
	// it; others use JSON's.
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("it answered " + response.Status)
	}
	return io.ReadAll(response.Body)
}

// shortened shortens a server's text, so that it cannot fill the log.
func shortened(err error) error { return errors.New(clip(err.Error())) }

// CheckFiles reads the configured files, and returns in one line which cannot be used.
func (s Settings) CheckFiles() error {
	var bad []error
	if s.JWKSFile != "" {
		data, err := trustedfile.Read("the issuer's keys", s.JWKSFile, trustedfile.Writing, maxBody)
		if err == nil {
			_, err = parseKeys(data)
		}
		bad = append(bad, inFile("the issuer's keys", s.JWKSFile, err))
	}
	if s.CAFile != "" {
		data, err := trustedfile.Read("the issuer's authorities", s.CAFile, trustedfile.Writing, maxBody)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
			err = errors.New("it has no certificate in PEM form")
		}
		bad = append(bad, inFile("the issuer's authorities", s.CAFile, err))
	}
	return usererr.Join(bad...)
}

func inFile(kind, path string, err error) error {
	if err == nil {
		return nil
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return usererr.Wrap("read "+kind+" "+path, err, "create or correct it")
}

// filed reads keys from a file.
func filed(path string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		data, err := trustedfile.Read("the issuer's keys", path, trustedfile.Writing, maxBody)
		if err != nil {
			return nil, fmt.Errorf("read the issuer's keys: %w", err)
		}
		return data, nil
	}
}
