package brokerclient

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/broker/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/remote"
)

const (
	// IdentityVariable names the environment variable with the bearer identity,
	// for sources without an identity_file.
	IdentityVariable = "GATEPASS_IDENTITY"

	schemeHTTPS = "broker+https"
	schemeUnix  = "broker+unix"

	form = "write broker+https://host[:port][/base]?identity_file=PATH or broker+unix:///path.sock"
)

// Open reads a source's URL. {workspace} may stand in the socket's path and in
// identity_file. No broker is asked yet.
func Open(u *url.URL, workspace string) (*Source, error) {
	if u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, oneline.New("source "+u.Scheme+"://"+u.Host, "a broker's URL has no user, password or fragment", form)
	}
	switch u.Scheme {
	case schemeHTTPS:
		return openHTTPS(u, workspace)
	case schemeUnix:
		return openUnix(u, workspace)
	}
	return nil, oneline.New("source", "its scheme is not broker+https or broker+unix", form)
}

func openHTTPS(u *url.URL, workspace string) (*Source, error) {
	name := "https://" + u.Host
	if u.Hostname() == "" {
		return nil, oneline.New("source "+u.Scheme+"://", "it names no host", form)
	}
	if strings.ContainsAny(u.Path, "{}") {
		return nil, oneline.New("source "+name+u.Path, "a broker's address has no placeholders", form)
	}
	query, err := parseQuery(name, u.RawQuery, "identity_file", "ca_file")
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(query["identity_file"], workspace, false)
	if err != nil {
		return nil, err
	}
	roots, err := remote.Roots(query["ca_file"], "ca_file in the source")
	if err != nil {
		return nil, err
	}
	t := remote.Transport()
	t.Proxy = http.ProxyFromEnvironment
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	base := (&url.URL{Scheme: "https", Host: u.Host, Path: strings.TrimRight(u.Path, "/") + api.TokenPath}).String()
	return &Source{name: name, url: base, identity: id, client: client(t)}, nil
}

func openUnix(u *url.URL, workspace string) (*Source, error) {
	if u.Host != "" || u.Path == "" || u.Path == "/" {
		return nil, oneline.New("source "+u.Scheme+"://"+u.Host, "a socket is an absolute path on this machine", "write broker+unix:///path.sock, with three slashes")
	}
	path, err := fixed(u.Path, workspace)
	if err != nil {
		return nil, err
	}
	query, err := parseQuery(path, u.RawQuery, "identity_file", "owner")
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(query["identity_file"], workspace, true)
	if err != nil {
		return nil, err
	}
	s := socket{path: path, owner: -1}
	if text, ok := query["owner"]; ok {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, oneline.New("source "+path, "owner is a numeric user id", "")
		}
		s.owner = int64(n)
	}
	t := remote.Transport()
	t.DialContext = s.dial
	return &Source{name: "socket " + path, url: "http://localhost" + api.TokenPath, identity: id, client: client(t)}, nil
}

// fixed fills a text in which only {workspace} may stand.
func fixed(text, workspace string) (string, error) {
	t, err := credential.ParseTemplate(text, workspace)
	if err != nil {
		return "", err
	}
	if !t.Fixed() {
		return "", oneline.New("source part "+text, "only {workspace} can stand here", "a broker is told host and repository in the request")
	}
	return t.Expand(credential.Request{})
}

// parseQuery takes a query apart; keys not in known, and keys given twice or
// empty, are errors.
func parseQuery(what, raw string, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, oneline.New("source "+what, "its query is malformed", form)
	}
	query := make(map[string]string, len(values))
	for key, list := range values {
		i := 0
		for i < len(known) && known[i] != key {
			i++
		}
		if i == len(known) {
			return nil, oneline.New("source "+what, "unknown key "+key, "known: "+strings.Join(known, ", "))
		}
		if len(list) != 1 || list[0] == "" {
			return nil, oneline.New("source "+what, key+" is given twice or is empty", "")
		}
		query[key] = list[0]
	}
	return query, nil
}

// client follows no redirect: an identity goes to the address in the source and
// nowhere else.
func client(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// socket is a Unix socket and who may own it: root, this user, or the user id
// owner when it is not negative.
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
