// Package brokerclient asks a gatepass broker for tokens:
//
//	broker+https://host[:port][/base]?identity_file=PATH[&ca_file=PEM]
//	broker+unix:///path.sock[?identity_file=PATH][&owner=UID]
//
// The caller proves its identity in one of these ways, chosen in the source's query:
//
//	identity_file=PATH            a bearer identity, read anew for every call; without any
//	                              other way, the variable GATEPASS_IDENTITY holds it
//	cert_file=PATH&key_file=PATH  a client certificate, read anew for every call (https)
//	join_token_file=PATH          a token that is shown once, for a session that is renewed
//	auth=NAME                     a [Method] that the program has
//
// Over a Unix socket the broker sees the caller's user id, so no proof is needed. An
// identity is sent only over verified TLS or the socket.
package brokerclient

import (
	"context"
	"net/http"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A Source is one broker.
type Source struct {
	name     string // for error messages: "https://host" or the socket's path
	base     string // the start of the calls' URLs
	identity proof
	client   *http.Client
}

// proof is how a caller proves its identity.
type proof interface {
	// authorization returns the header of one call; "" if none is needed.
	authorization(ctx context.Context) (string, error)
	where() string // names the proof in error messages
}

// Unauthenticated returns the same broker without an identity. ok is false if the connection
// itself is the identity, or if there is no identity to omit.
func (s *Source) Unauthenticated() (anonymous *Source, ok bool) {
	id, ok := s.identity.(identity)
	if !ok || id.optional {
		return nil, false
	}
	return &Source{name: s.name, base: s.base, identity: none{}, client: s.client}, true
}

// none sends no proof: a broker at a socket knows the caller by its user ID.
type none struct{}

func (none) authorization(context.Context) (string, error) { return "", nil }
func (none) where() string                                 { return "none" }

// Key returns the same key for requests for the same repository and operation, which
// share a token.
func (s *Source) Key(req credential.Request) string {
	r, err := tokenRequest(req)
	if err != nil {
		return "\x00" + req.Host + "/" + req.Path
	}
	return r.Host + " " + r.Repo.String() + " " + r.Operation
}

// UsesOperation reports true: there are different tokens for reading and writing.
func (*Source) UsesOperation() bool { return true }

// Token asks the broker for a token for one repository. It returns
// [credential.ErrNoCredential] for a host that the broker does not serve. It retries
// transient errors (429, 5xx, a lost connection) until ctx's deadline.
func (s *Source) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	r, err := tokenRequest(req)
	if err != nil {
		return credential.Token{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	return httpclient.Retry(ctx, func(ctx context.Context) (credential.Token, error) { return s.attempt(ctx, r) })
}

func tokenRequest(req credential.Request) (api.TokenRequest, error) {
	owner, name, err := credential.RequireRepository(req, "a broker gives tokens for one repository")
	if err != nil {
		return api.TokenRequest{}, err
	}
	host, _ := gitname.Host(req.Host)
	r := api.TokenRequest{Host: host, Repo: api.Repo{Owner: owner, Name: name}, Operation: req.Operation}
	if r.Operation == "" {
		r.Operation = api.Write
	}
	if err := r.Check(); err != nil {
		return api.TokenRequest{}, usererr.Wrap("token for https://"+req.Host+"/"+req.Path, err, "")
	}
	return r, nil
}
