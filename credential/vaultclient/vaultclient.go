// Package vaultclient logs in to HashiCorp Vault (or the compatible OpenBao), reads
// from it and writes to it. Of Vault's own endpoints it uses three documented ones: a
// login, and lookup-self and renew-self of a token.
//
// The query of a URL says how to reach Vault and how to log in. What it omits comes
// from the variables of Vault's own programs: VAULT_ADDR, VAULT_NAMESPACE, VAULT_TOKEN,
// VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT, VAULT_CLIENT_KEY,
// VAULT_TLS_SERVER_NAME. Certificates are always verified; VAULT_SKIP_VERIFY is
// ignored.
//
// The package does not use github.com/hashicorp/vault/api. With version 1.23.0
// in place of the requests in link.go, the tests of this package pass, but 16 of
// 1,051 lines go, and gatepass-agent grows from 12,038,306 to 12,820,642 bytes.
// The URL, the logins, the sessions and the error texts stay ours:
//   - NewClient parses every variable that Vault's command line reads. A bad
//     VAULT_CACERT fails the client even where ca_file in the URL outranks it, and
//     so does a bad VAULT_SKIP_VERIFY or VAULT_MAX_RETRIES. The agent would have
//     to add 17 variables that start with VAULT_ to its identity or explain them.
//   - It reads the body of an error answer without a bound.
//   - By default it follows one redirect to another host, with the token.
//   - Logical().Read returns no headers, so the clock difference and Retry-After
//     are lost. RawRequest, which returns them for every method, is deprecated.
//   - The AppRole login requires a secret ID, and the Kubernetes login requires a
//     role and sends its file without trimming the end of the line.
//   - LifetimeWatcher renews on a goroutine of its own. Here a token is renewed
//     only by Upkeep and by requests, so that an idle client lets it expire.
package vaultclient

import (
	"context"
	"net/http"
	"net/url"
	"sync"

	"github.com/gatepass/gatepass/internal/httpclient"
)

// A Client is one login to one Vault. It keeps its Vault token as long as the token
// lives.
type Client struct {
	settings settings
	login    login

	mu      sync.Mutex // guards the rest; held during a login
	link    *link
	session *session
}

// Where names the Vault in error messages.
func (c *Client) Where() string {
	if addr := c.settings.address(); addr != "" {
		if u, err := url.Parse(addr); err == nil && u.Host != "" {
			return "Vault at " + u.Scheme + "://" + u.Host
		}
	}
	return "Vault"
}

// Identity describes the origin of the Vault token, such as "the role ci".
func (c *Client) Identity() string { return c.login.identity() }

// Read reads a path below /v1/. what starts the errors, such as "read a/b in Vault". An
// answer that the caller must interpret (403 with a live token, 400, 404, 405) is a
// [*Refusal].
//
// Read logs in again once if the Vault token has expired, or if it is denied: it may
// lack a policy that its role has received since.
func (c *Client) Read(ctx context.Context, what, path string) (*Answer, error) {
	return c.ask(ctx, what, request{method: http.MethodGet, path: path})
}

// Write posts body, as JSON, to a path below /v1/. Otherwise it is like Read. If an
// answer is lost, it may write twice.
func (c *Client) Write(ctx context.Context, what, path string, body any) (*Answer, error) {
	return c.ask(ctx, what, request{method: http.MethodPost, path: path, body: body})
}

// List is like Read, for the names in a folder.
func (c *Client) List(ctx context.Context, what, path string) (*Answer, error) {
	return c.ask(ctx, what, request{method: methodList, path: path})
}

// Delete is like Read, and deletes what is at a path.
func (c *Client) Delete(ctx context.Context, what, path string) (*Answer, error) {
	return c.ask(ctx, what, request{method: http.MethodDelete, path: path})
}

// methodList is Vault's own HTTP method
// (https://developer.hashicorp.com/vault/api-docs#http-verbs).
const methodList = "LIST"

func (c *Client) ask(ctx context.Context, what string, r request) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	l, s, err := c.open(ctx, what)
	if err != nil {
		return nil, err
	}
	answer, err := l.do(ctx, what, s.with(r))
	if !isDenied(err) {
		return answer, err
	}
	other, err := c.instead(ctx, what, l, s, err)
	if err != nil {
		return nil, err
	}
	return l.do(ctx, what, other.with(r))
}

// open returns the connection and a Vault token to try.
func (c *Client) open(ctx context.Context, what string) (*link, *session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := c.connect(what)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.current(ctx, l)
	return l, s, err
}

// connect returns the connection. It makes a new one if the last one met a certificate
// that it did not trust: the authorities may have been replaced. The caller holds mu.
func (c *Client) connect(what string) (*link, error) {
	if c.link != nil && !c.link.distrusts.Load() {
		return c.link, nil
	}
	l, err := newLink(what, c.settings)
	if err != nil {
		return nil, err
	}
	c.link = l
	return l, nil
}
