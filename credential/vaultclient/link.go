package vaultclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxAnswer is the largest answer, in bytes. It is also the largest entry that Vault's
// own storage accepts by default.
const maxAnswer = 1 << 20

// maxRedirects is how many redirects of one request are followed.
const maxRedirects = 2

// A link is a connection to one Vault, without a token.
type link struct {
	where     string // for error messages
	base      *url.URL
	namespace string
	client    *http.Client
	distrusts atomic.Bool // met a certificate that it does not trust
}

// newLink reads from the environment what the URL does not set.
func newLink(what string, s settings) (*link, error) {
	addr := s.address()
	if addr == "" {
		return nil, usererr.New(what, "the address of Vault is not set", "add &addr=https://host[:port] to the URL or set VAULT_ADDR")
	}
	base, err := parseAddress(what, "VAULT_ADDR", addr)
	if err != nil {
		return nil, err
	}
	config, err := tlsConfig(what, s.caFile)
	if err != nil {
		return nil, err
	}
	t := httpclient.Transport()
	t.Proxy = http.ProxyFromEnvironment
	t.TLSClientConfig = config
	return &link{
		where:     "Vault at " + base.Scheme + "://" + base.Host,
		base:      base.JoinPath("v1"),
		namespace: strings.Trim(orVariable(s.namespace, "VAULT_NAMESPACE"), "/"),
		client:    &http.Client{Transport: t, CheckRedirect: checkRedirect},
	}, nil
}

// checkRedirect follows a redirect only to the same address, because the token is sent
// along. Otherwise the redirect itself is the answer.
func checkRedirect(next *http.Request, before []*http.Request) error {
	first := before[0]
	same := next.URL.Scheme == first.URL.Scheme && next.URL.Host == first.URL.Host && next.Method == first.Method
	if !same || len(before) > maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

func tlsConfig(what, caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: os.Getenv("VAULT_TLS_SERVER_NAME")}
	var err error
	switch dir := os.Getenv("VAULT_CAPATH"); {
	case caFile != "":
		config.RootCAs, err = httpclient.Roots(caFile, "ca_file in the URL")
	case os.Getenv("VAULT_CACERT") != "":
		config.RootCAs, err = httpclient.Roots(os.Getenv("VAULT_CACERT"), "VAULT_CACERT")
	case dir != "":
		config.RootCAs, err = rootsIn(dir)
	}
	if err != nil {
		return nil, err
	}
	if cert, key := os.Getenv("VAULT_CLIENT_CERT"), os.Getenv("VAULT_CLIENT_KEY"); cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, usererr.New(what, "the client's certificate or key cannot be used", "correct VAULT_CLIENT_CERT and VAULT_CLIENT_KEY")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// rootsIn returns the authorities in a folder's files.
func rootsIn(dir string) (*x509.CertPool, error) {
	roots, some := x509.NewCertPool(), false
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, usererr.Wrap("read the certificates", err, "correct VAULT_CAPATH")
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		some = err == nil && roots.AppendCertsFromPEM(data) || some
	}
	if !some {
		return nil, usererr.New("read the certificates in "+dir, "it has no certificate in PEM form", "correct VAULT_CAPATH")
	}
	return roots, nil
}

// A request is one request to Vault.
type request struct {
	method, path string // below /v1/
	token        string // "" for a login
	body         any    // as JSON; nil for none
}

// do retries until Vault gives a final answer. An error answer is an error for people,
// or a *Refusal.
func (l *link) do(ctx context.Context, what string, r request) (*Answer, error) {
	return httpclient.Retry(ctx, func(ctx context.Context) (*Answer, error) { return l.attempt(ctx, what, r) })
}

func (l *link) attempt(ctx context.Context, what string, r request) (*Answer, error) {
	attemptCtx, cancel := context.WithTimeout(ctx, httpclient.AttemptWait)
	defer cancel()
	request, err := l.request(attemptCtx, r)
	if err != nil {
		return nil, l.unexpectedAnswer(what, "its address is malformed")
	}
	response, err := l.client.Do(request)
	if err != nil {
		return nil, l.connectionError(ctx, what, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, l.connectionError(ctx, what, err)
	}
	if len(body) > maxAnswer {
		return nil, l.unexpectedAnswer(what, "its answer is over 1 MiB")
	}
	if response.StatusCode/100 != 2 {
		return nil, l.refused(what, response, body)
	}
	answer, err := decodeAnswer(body)
	if err != nil {
		return nil, l.unexpectedAnswer(what, err.Error())
	}
	answer.Ahead = httpclient.Ahead(response.Header)
	return answer, nil
}

func (l *link) request(ctx context.Context, r request) (*http.Request, error) {
	u := *l.base
	u.Path, u.RawPath = u.Path+"/"+r.path, ""
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "gatepass")
	request.Header.Set("X-Vault-Request", "true") // Vault's agent can be configured to require it
	if r.token != "" {
		request.Header.Set("X-Vault-Token", r.token)
	}
	if l.namespace != "" {
		request.Header.Set("X-Vault-Namespace", l.namespace)
	}
	return request, nil
}
