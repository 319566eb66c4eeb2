package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// An Upstream is how the broker reaches GitHub, for minting and for the gateway. The zero
// Upstream is the direct way.
type Upstream struct {
	Proxy     string   `yaml:"upstream_proxy"`            // http://HOST:PORT or https://HOST:PORT; "" means none
	LoginFile string   `yaml:"upstream_proxy_login_file"` // has USER:PASSWORD; "" means that the proxy wants none
	CAFile    string   `yaml:"upstream_ca"`               // PEM, instead of the system's authorities; "" means those
	NoProxy   []string `yaml:"no_proxy"`                  // hosts that are reached without the proxy: HOST or *.NAME
}

// IsZero reports whether nothing is said.
func (u Upstream) IsZero() bool {
	return u.Proxy == "" && u.LoginFile == "" && u.CAFile == "" && len(u.NoProxy) == 0
}

func (u Upstream) check(github string) error {
	if u.Proxy == "" {
		if u.LoginFile != "" || len(u.NoProxy) > 0 {
			return errors.New("upstream_proxy is missing, and upstream_proxy_login_file and no_proxy are about it")
		}
		return nil
	}
	at, err := url.Parse(u.Proxy)
	switch {
	case err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "" || strings.Trim(at.Path, "/") != "" || at.RawQuery != "" || at.Fragment != "":
		return errors.New("upstream_proxy: want http://HOST:PORT or https://HOST:PORT")
	case at.User != nil:
		return errors.New("upstream_proxy: it has a login in it; write USER:PASSWORD into a file of mode 0600, and its path into upstream_proxy_login_file")
	case strings.HasPrefix(github, "http://"):
		return errors.New("upstream_proxy: github_url is not https, and would not go through it")
	}
	for i, host := range u.NoProxy {
		if !isHostPattern(host) {
			return fmt.Errorf("no_proxy[%d]: %q is no host in lower case, nor *. before one", i, host)
		}
	}
	return nil
}

// isHostPattern reports whether a text is a host in lower case, or "*." before one.
func isHostPattern(text string) bool {
	name := strings.TrimPrefix(text, "*.")
	canonical, ok := gitname.Host(name)
	return ok && canonical == name
}
