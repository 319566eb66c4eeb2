package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/internal/gitname"
)

// A Gateway configures the broker's git gateway. A field that is 0 means its default.
type Gateway struct {
	MaxPack     Size          `yaml:"max_pack"`      // bytes of one push; default 4GiB
	IdleTimeout time.Duration `yaml:"idle_timeout"`  // of a transfer that makes no progress; default 2m
	Transfers   int           `yaml:"transfers"`     // concurrent transfers of one workspace; default 8
	Rate        Size          `yaml:"transfer_rate"` // bytes per hour of one workspace; 0 means no limit

	APIRequests int `yaml:"api_requests"` // requests per hour to GitHub's API, of one workspace; default 2000
	// StorageHosts are the hosts from which downloads of GitHub's API may come: a host,
	// "*." and a name for every host below it, or "*". Nil means the hosts that GitHub
	// documents.
	StorageHosts []string `yaml:"storage_hosts"`
	// HTTP2 says whether the listeners offer HTTP/2; nil means yes.
	HTTP2 *bool `yaml:"http2"`
}

// OffersHTTP2 reports whether the listeners offer HTTP/2. Without a gateway they do.
func (g *Gateway) OffersHTTP2() bool { return g == nil || g.HTTP2 == nil || *g.HTTP2 }

// UnmarshalYAML reads a mapping, which may be empty. "gateway: {}" is a gateway with
// the defaults; "gateway:" without a value means none.
func (g *Gateway) UnmarshalYAML(node *yaml.Node) error {
	if err := onlyKeys(node, "max_pack", "idle_timeout", "transfers", "transfer_rate", "api_requests", "storage_hosts", "http2"); err != nil {
		return errors.New(strings.Replace(err.Error(), "a string or a mapping", "a mapping: gateway: {}", 1))
	}
	type plain Gateway
	return node.Decode((*plain)(g))
}

// DefaultGateway returns the gateway of "gateway: {}".
func DefaultGateway() *Gateway { return new(Gateway).withDefaults() }

// withDefaults fills in missing values.
func (g *Gateway) withDefaults() *Gateway {
	if g == nil {
		return nil
	}
	full := *g
	setDefault(&full.MaxPack, 4<<30)
	setDefault(&full.IdleTimeout, 2*time.Minute)
	setDefault(&full.Transfers, 8)
	setDefault(&full.APIRequests, 2000)
	return &full
}

func (g *Gateway) check() error {
	if g == nil {
		return nil
	}
	if g.IdleTimeout < 0 || g.Transfers < 0 || g.APIRequests < 0 {
		return fmt.Errorf("gateway: its numbers must not be below 0")
	}
	for i, host := range g.StorageHosts {
		if host != "*" && !isHostPattern(host) {
			return fmt.Errorf("gateway.storage_hosts[%d]: %q must be a host in lower case, *.HOST or *", i, host)
		}
	}
	return nil
}

// An Upstream says how the broker reaches GitHub, for minting and for the gateway. The
// zero Upstream connects directly.
type Upstream struct {
	Proxy     string   `yaml:"upstream_proxy"`            // http://HOST:PORT or https://HOST:PORT; "" means none
	LoginFile string   `yaml:"upstream_proxy_login_file"` // contains USER:PASSWORD; "" means that the proxy needs no login
	CAFile    string   `yaml:"upstream_ca"`               // PEM, used instead of the system's authorities; "" means the system's
	NoProxy   []string `yaml:"no_proxy"`                  // hosts to reach without the proxy: HOST or *.NAME
}

// IsZero reports whether no field is set.
func (u Upstream) IsZero() bool {
	return u.Proxy == "" && u.LoginFile == "" && u.CAFile == "" && len(u.NoProxy) == 0
}

func (u Upstream) check(github string) error {
	if u.Proxy == "" {
		if u.LoginFile != "" || len(u.NoProxy) > 0 {
			return errors.New("upstream_proxy is missing; upstream_proxy_login_file and no_proxy need it")
		}
		return nil
	}
	at, err := url.Parse(u.Proxy)
	switch {
	case err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "" || strings.Trim(at.Path, "/") != "" || at.RawQuery != "" || at.Fragment != "":
		return errors.New("upstream_proxy: want http://HOST:PORT or https://HOST:PORT")
	case at.User != nil:
		return errors.New("upstream_proxy: it must not contain a login; write USER:PASSWORD into a file of mode 0600, and its path into upstream_proxy_login_file")
	case strings.HasPrefix(github, "http://"):
		return errors.New("upstream_proxy: github_url must be an https URL to go through it")
	}
	for i, host := range u.NoProxy {
		if !isHostPattern(host) {
			return fmt.Errorf("no_proxy[%d]: %q must be a host in lower case or *.HOST", i, host)
		}
	}
	return nil
}

// isHostPattern reports whether text is a host in lower case, optionally with "*."
// before it.
func isHostPattern(text string) bool {
	name := strings.TrimPrefix(text, "*.")
	canonical, ok := gitname.Host(name)
	return ok && canonical == name
}
