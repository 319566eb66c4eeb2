package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
	"go.yaml.in/yaml/v3"
)

// A Gateway is the address at which a broker serves git. The zero Gateway means that
// there is none.
type Gateway struct {
	scheme string // https, or http for a loopback address
	host   string // in the form of gitname.Host
}

// ParseGateway reads a gateway's address: https://HOST[:PORT], or http:// with a
// loopback address as the host, optionally followed by one slash. Its errors do not
// repeat what may be a password.
func ParseGateway(text string) (Gateway, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || scheme != "https" && scheme != "http" {
		return Gateway{}, errors.New("gateway: want https://HOST[:PORT], the address of the broker")
	}
	if strings.Contains(rest, "@") {
		return Gateway{}, errors.New("gateway: it must not have a user or password; gatepass sends sessions")
	}
	rest = strings.TrimSuffix(rest, "/")
	host, ok := gitname.Host(rest)
	if !ok {
		return Gateway{}, fmt.Errorf("gateway %q: want https://HOST[:PORT] without path, query or wildcard", text)
	}
	if scheme == "http" && (!gitname.IsLoopback(host) || strings.HasSuffix(rest, ":443")) {
		return Gateway{}, fmt.Errorf("gateway %q: http is only for a loopback address such as http://127.0.0.1:8080; write https", text)
	}
	return Gateway{scheme, host}, nil
}

// IsZero reports whether there is no gateway.
func (g Gateway) IsZero() bool { return g == Gateway{} }

// Scheme returns "https", or "http" for a gateway at a loopback address.
func (g Gateway) Scheme() string { return g.scheme }

// Host returns the host with its port, in the form of [gitname.Host]: "broker.example:8443".
func (g Gateway) Host() string { return g.host }

// String returns the address without a slash at the end, "https://broker.example:8443",
// and "" for the zero Gateway.
func (g Gateway) String() string {
	if g.IsZero() {
		return ""
	}
	return g.scheme + "://" + g.host
}

// Base returns the address below which the gateway serves the repositories of one of
// hosts, without a slash at the end. The first host's repositories are directly below
// the gateway's address.
func (g Gateway) Base(host string, hosts []string) string {
	if len(hosts) > 0 && host == hosts[0] {
		return g.String()
	}
	return g.String() + "/git/" + host
}

// Repository splits the path of a gateway's URL into one of hosts and the path of a
// repository there. It does not check that path.
func (g Gateway) Repository(path string, hosts []string) (host, repository string) {
	if rest, ok := strings.CutPrefix(path, "git/"); ok {
		name, repository, _ := strings.Cut(rest, "/")
		for _, h := range hosts {
			if h == name {
				return h, repository
			}
		}
	}
	if len(hosts) == 0 {
		return "", path
	}
	return hosts[0], path
}

// checkGateway reads the key gateway.
func (w *Workspace) checkGateway(node yaml.Node) (err error) {
	if node.IsZero() {
		return nil
	}
	if node.Kind != yaml.ScalarNode || node.Tag != "!!str" {
		return errors.New("gateway must be the broker's address, https://HOST[:PORT]; leave it out to use none")
	}
	if w.Gateway, err = ParseGateway(node.Value); err != nil {
		return err
	}
	return w.checkWithGateway()
}

// Through returns a copy of w that uses the gateway g: gatepass install can name a
// gateway that the file does not. It returns an error if the file names another one.
func (w *Workspace) Through(g Gateway) (*Workspace, error) {
	through := *w
	through.Gateway = g
	if !w.Gateway.IsZero() && w.Gateway != g {
		return nil, fmt.Errorf("gateway %q: git is configured for %q; run gatepass install", w.Gateway, g)
	}
	if err := through.checkWithGateway(); err != nil {
		return nil, err
	}
	return &through, nil
}

// checkWithGateway checks the keys that a gateway restricts.
func (w *Workspace) checkWithGateway() error {
	for _, host := range w.Hosts {
		if host == w.Gateway.host {
			return fmt.Errorf("gateway %q: remove it from hosts, which lists GitHub's hosts, such as %s", w.Gateway, DefaultHost)
		}
	}
	if w.Cache == CacheKeyring {
		return errors.New("cache: keyring: sessions of a gateway are cached in memory only; leave cache out")
	}
	if w.Strict && w.Gateway.scheme != "https" {
		return errors.New("strict: it needs a gateway with https; write an https gateway, or remove strict")
	}
	return w.CheckGatewaySource()
}

// CheckGatewaySource returns an error if the source gives no sessions of a gateway.
// Only a broker does.
func (w *Workspace) CheckGatewaySource() error {
	if w.Source == nil || w.Source.Scheme == "broker+https" || w.Source.Scheme == "broker+unix" {
		return nil
	}
	return fmt.Errorf("source %s://: with a gateway, the source must be the broker; "+
		"write source: broker+https://HOST?identity_file=PATH or broker+unix:///PATH.sock", w.Source.Scheme)
}
