package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A Gateway says how the broker serves git itself. A field that is 0 means its default.
type Gateway struct {
	MaxPack     Size          `yaml:"max_pack"`      // bytes of one push; 4GiB
	IdleTimeout time.Duration `yaml:"idle_timeout"`  // of a transfer that moves nothing; 2m
	Transfers   int           `yaml:"transfers"`     // running at once, of one workspace; 8
	Rate        Size          `yaml:"transfer_rate"` // bytes of one workspace in an hour; 0 means no limit

	APIRequests int `yaml:"api_requests"` // to GitHub's API, of one workspace in an hour; 2000
	// StorageHosts are where downloads of GitHub's API may be fetched from: a host, "*." and
	// a name for every host below it, or "*". Nil means those that GitHub documents.
	StorageHosts []string `yaml:"storage_hosts"`
	// HTTP2 says whether the listeners offer HTTP/2; nil means that they do.
	HTTP2 *bool `yaml:"http2"`
}

// OffersHTTP2 reports whether the listeners offer HTTP/2. They do without a gateway.
func (g *Gateway) OffersHTTP2() bool { return g == nil || g.HTTP2 == nil || *g.HTTP2 }

// UnmarshalYAML reads a mapping, which may be empty: "gateway: {}" has the defaults, and
// "gateway:" with nothing behind it is no gateway.
func (g *Gateway) UnmarshalYAML(node *yaml.Node) error {
	if err := onlyKeys(node, "max_pack", "idle_timeout", "transfers", "transfer_rate", "api_requests", "storage_hosts", "http2"); err != nil {
		return errors.New(strings.Replace(err.Error(), "a text or a mapping", "a mapping: gateway: {}", 1))
	}
	type plain Gateway
	return node.Decode((*plain)(g))
}

// DefaultGateway is what gateway: {} says.
func DefaultGateway() *Gateway { return new(Gateway).withDefaults() }

// withDefaults fills in what is not said.
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
		return fmt.Errorf("gateway: none of its numbers is below 0")
	}
	for i, host := range g.StorageHosts {
		if host != "*" && !isHostPattern(host) {
			return fmt.Errorf("gateway.storage_hosts[%d]: %q is no host in lower case, nor *. before one, nor *", i, host)
		}
	}
	return nil
}
