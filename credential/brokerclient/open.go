package brokerclient

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	// IdentityVariable is the environment variable with the bearer identity, for
	// sources without an identity_file.
	IdentityVariable = "GATEPASS_IDENTITY"

	schemeHTTPS = "broker+https"
	schemeUnix  = "broker+unix"

	form = "write broker+https://host[:port][/base]?identity_file=PATH or broker+unix:///path.sock"
)

// A Method is a further kind of proof: auth=NAME in a source.
type Method struct {
	Name string
	Keys []string // of the query, in addition to auth and server_id
	Open func(query map[string]string) (Prover, error)
}

// A Prover makes the Authorization header of one call. serverID is the name of the
// broker, and nonce comes from that broker.
type Prover func(ctx context.Context, serverID, nonce string) (authorization string, err error)

// An Opener opens sources. It keeps the sessions of join tokens, so that a source that
// is opened again continues with them. The zero Opener has no methods.
type Opener struct {
	Methods []Method

	mu     sync.Mutex         // guards joined
	joined map[string]*joined // by broker and file
}

// Open opens a source with only the methods of this package.
func Open(u *url.URL, workspace string) (*Source, error) { return new(Opener).Open(u, workspace) }

// Open reads a source's URL. The paths of the socket and of files may contain
// {workspace}. It does not call the broker.
func (o *Opener) Open(u *url.URL, workspace string) (*Source, error) {
	if u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, usererr.New("source "+u.Scheme+"://"+u.Host, "a broker's URL must not have a user, password or fragment", form)
	}
	switch u.Scheme {
	case schemeHTTPS:
		return o.openHTTPS(u, workspace)
	case schemeUnix:
		return o.openUnix(u, workspace)
	}
	return nil, usererr.New("source", "its scheme is not broker+https or broker+unix", form)
}

func (o *Opener) openHTTPS(u *url.URL, workspace string) (*Source, error) {
	name := "https://" + u.Host
	if u.Hostname() == "" {
		return nil, usererr.New("source "+u.Scheme+"://", "it has no host", form)
	}
	if strings.ContainsAny(u.Path, "{}") {
		return nil, usererr.New("source "+name+u.Path, "a broker's address must not have placeholders", form)
	}
	keys := []string{"identity_file", "ca_file", "cert_file", "key_file", "join_token_file", "auth", "server_id"}
	for _, m := range o.Methods {
		keys = append(keys, m.Keys...)
	}
	query, err := parseQuery(name, u.RawQuery, keys...)
	if err != nil {
		return nil, err
	}
	roots, err := httpclient.Roots(query["ca_file"], "ca_file in the source")
	if err != nil {
		return nil, err
	}
	t := httpclient.Transport()
	t.Proxy = http.ProxyFromEnvironment
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	base := (&url.URL{Scheme: "https", Host: u.Host, Path: strings.TrimRight(u.Path, "/")}).String()
	s := &Source{name: name, base: base, client: client(t)}
	hasCertificate, err := useCertificate(name, t, query, workspace)
	if err == nil {
		s.identity, err = o.proof(s, u, query, workspace, hasCertificate)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (o *Opener) openUnix(u *url.URL, workspace string) (*Source, error) {
	if u.Host != "" || u.Path == "" || u.Path == "/" {
		return nil, usererr.New("source "+u.Scheme+"://"+u.Host, "a socket must be an absolute path on this machine", "write broker+unix:///path.sock, with three slashes")
	}
	path, err := fixed(u.Path, workspace)
	if err != nil {
		return nil, err
	}
	query, err := parseQuery(path, u.RawQuery, "identity_file", "join_token_file", "owner")
	if err != nil {
		return nil, err
	}
	socket := socket{path: path, owner: -1}
	if text, ok := query["owner"]; ok {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, usererr.New("source "+path, "owner must be a numeric user ID", "")
		}
		socket.owner = int64(n)
	}
	t := httpclient.Transport()
	t.DialContext = socket.dial
	s := &Source{name: "socket " + path, base: "http://localhost", client: client(t)}
	if s.identity, err = o.proof(s, u, query, workspace, true); err != nil {
		return nil, err
	}
	return s, nil
}

// proof returns the one proof that a query asks for. optional means that the broker
// also knows the caller without one.
func (o *Opener) proof(s *Source, u *url.URL, query map[string]string, workspace string, optional bool) (proof, error) {
	n := 0
	for _, key := range []string{"identity_file", "join_token_file", "auth"} {
		if query[key] != "" {
			n++
		}
	}
	switch {
	case n > 1:
		return nil, usererr.New("source "+s.name, "it has more than one of identity_file, join_token_file and auth", "keep one of them")
	case query["auth"] != "":
		return o.method(s, u, query)
	case query["join_token_file"] != "":
		file, err := fixed(query["join_token_file"], workspace)
		if err != nil {
			return nil, err
		}
		return o.join(s, file), nil
	}
	for _, m := range o.Methods {
		for _, key := range m.Keys {
			if query[key] != "" {
				return nil, usererr.New("source "+s.name, key+" needs auth="+m.Name, form)
			}
		}
	}
	return newIdentity(query["identity_file"], workspace, optional)
}

func (o *Opener) method(s *Source, u *url.URL, query map[string]string) (proof, error) {
	for _, m := range o.Methods {
		if m.Name != query["auth"] {
			continue
		}
		id := query["server_id"]
		if id == "" {
			id = strings.ToLower(u.Hostname())
		}
		if err := api.CheckServerID(id); err != nil {
			return nil, usererr.Wrap("source "+s.name, err, "set server_id to the value in the broker's configuration")
		}
		prove, err := m.Open(query)
		if err != nil {
			return nil, err
		}
		return &challenged{source: s, method: m.Name, serverID: id, prove: prove}, nil
	}
	return nil, usererr.New("source "+s.name, "this program does not know auth="+query["auth"], "use another method, or let gatepass-agent ask")
}

// fixed fills in a text that may contain {workspace} but no other placeholder.
func fixed(text, workspace string) (string, error) {
	t, err := credential.ParseTemplate(text, workspace)
	if err != nil {
		return "", err
	}
	if !t.Fixed() {
		return "", usererr.New("source part "+text, "only {workspace} is allowed here", "remove the other placeholders: the request to a broker names host and repository")
	}
	return t.Expand(credential.Request{})
}

// parseQuery parses a query; keys not in known, and keys that are empty or given twice,
// are errors.
func parseQuery(what, raw string, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, usererr.New("source "+what, "its query is malformed", form)
	}
	query := make(map[string]string, len(values))
	for key, list := range values {
		i := 0
		for i < len(known) && known[i] != key {
			i++
		}
		if i == len(known) {
			return nil, usererr.New("source "+what, "unknown key "+key, "known: "+strings.Join(known, ", "))
		}
		if len(list) != 1 || list[0] == "" {
			return nil, usererr.New("source "+what, key+" is given twice or is empty", "")
		}
		query[key] = list[0]
	}
	return query, nil
}

// client returns an HTTP client that follows no redirect: an identity goes only to the
// address in the source.
func client(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// socket is a Unix socket and its allowed owner: root, this user, or the user id owner
// if that is not negative.
type socket struct {
	path  string
	owner int64
}

func (s socket) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, "unix", s.path)
}
