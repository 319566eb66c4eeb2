// Package brokerclient asks a gatepass broker for tokens:
//
//	broker+https://host[:port][/base]?identity_file=PATH[&ca_file=PEM]
//	broker+unix:///path.sock[?identity_file=PATH][&owner=UID]
//
// The caller proves who it is in one of these ways, by the source's query:
//
//	identity_file=PATH            a bearer identity, read anew for every call; without any
//	                              other way, the variable GATEPASS_IDENTITY holds it
//	cert_file=PATH&key_file=PATH  a client certificate, read anew for every call (https)
//	join_token_file=PATH          a token that is shown once, for a session that is renewed
//	auth=NAME                     a [Method] that the program has
//
// Over a Unix socket the broker sees the caller's user id, so that all of them may
// be absent. An identity leaves this process over verified TLS or the socket only.
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
	name     string // for messages: "https://host" or the socket's path
	base     string // of the calls' addresses
	identity proof
	client   *http.Client
}

// proof is how a caller proves who it is.
type proof interface {
	// authorization returns the header of one call; "" where none is needed.
	authorization(ctx context.Context) (string, error)
	where() string // names it for messages
}

// Nobody is the same broker, asked without an identity; ok is false where the
// connection is one, or the source has none to leave out.
func (s *Source) Nobody() (nobody *Source, ok bool) {
	id, ok := s.identity.(identity)
	if !ok || id.optional {
		return nil, false
	}
	return &Source{name: s.name, base: s.base, identity: none{}, client: s.client}, true
}

// none proves nothing.
type none struct{}

func (none) authorization(context.Context) (string, error) { return "", nil }
func (none) where() string                                 { return "none" }

// Key says that requests for the same repository and operation share a token.
func (s *Source) Key(req credential.Request) string {
	r, err := tokenRequest(req)
	if err != nil {
		return "\x00" + req.Host + "/" + req.Path
	}
	return r.Host + " " + r.Repo.String() + " " + r.Operation
}

// UsesOperation reports true: a token for reading is another than one for writing.
func (*Source) UsesOperation() bool { return true }

// Token asks the broker for a token for one repository. It answers
// [credential.ErrNoCredential] for a host the broker does not serve. What may
// pass (429, 5xx, a lost connection) is tried again, but never beyond ctx's
// deadline.
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
