package serve

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/trustedfile"
)

// routeOf is the way to GitHub that a configuration says.
func routeOf(u config.Upstream) (r access.Route, err error) {
	if r.Roots, err = httpclient.Roots(u.CAFile, "upstream_ca"); err != nil || u.Proxy == "" {
		return r, err
	}
	r.Direct = u.NoProxy
	if r.Proxy, err = url.Parse(u.Proxy); err != nil {
		return r, err
	}
	if u.LoginFile != "" {
		r.Login = func() (string, error) { return proxyLogin(u.LoginFile) }
		_, err = r.Login()
	}
	return r, err
}

const maxLogin = 4 << 10 // bytes

func proxyLogin(path string) (string, error) {
	data, err := trustedfile.Read("the login of upstream_proxy", path, trustedfile.ReadingAndWriting, maxLogin)
	if err != nil {
		return "", err
	}
	login := strings.TrimSuffix(string(data), "\n")
	if user, _, ok := strings.Cut(login, ":"); !ok || user == "" || strings.ContainsAny(login, "\r\n") {
		return "", errors.New("upstream_proxy_login_file: the file is not one line USER:PASSWORD")
	}
	return login, nil
}

// githubWait bounds one call to GitHub's API.
const githubWait = 30 * time.Second

// clientBy is what asks GitHub for tokens by a route.
func clientBy(r access.Route) *http.Client {
	t := httpclient.Transport()
	t.DisableCompression = false // installations with their permissions are long
	r.Apply(t)
	return &http.Client{Transport: t, Timeout: githubWait}
}

// warnOfProxy says that the environment's proxy is not the gateway's.
func (d *daemon) warnOfProxy(f *config.File) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		if f.Gateway != nil && f.Upstream.IsZero() && d.getenv(name) != "" {
			d.log.Warn("the proxy of the environment is for minting only, and the gateway does not use it; set upstream_proxy in the configuration", "variable", name)
			return
		}
	}
}
