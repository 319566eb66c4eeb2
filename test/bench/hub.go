package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// A hub is the GitHub double with one private repository, and a broker that vends a
// token for it.
type hub struct {
	bench  *bench
	github *fakegithub.Server
	broker *broker
	url    string // URL for git
	host   string // its host, as git tells a helper
	token  string
	ca     string // file with the certificate
	front  *httptest.Server
}

// startHub starts a double that takes delay to answer a request.
func (b remoteBench) startHub(delay time.Duration) (*hub, error) {
	gh, err := fakegithub.New(fakegithub.Options{Delay: delay})
	if err != nil {
		return nil, err
	}
	h := &hub{bench: b.bench, github: gh, url: gh.URL(), host: gh.Host()}
	if err := h.fill(); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *hub) fill() error {
	app, err := h.github.AddApp(fakegithub.App{Permissions: fakegithub.Permissions{"contents": "read"}})
	if err != nil {
		return err
	}
	if _, err := h.github.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		return err
	}
	installation, err := h.github.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		return err
	}
	if h.token, err = h.github.MintFor(installation.ID, nil, nil); err != nil {
		return err
	}
	if h.broker, err = h.bench.startBroker(h.host, h.token, 0); err != nil {
		return err
	}
	h.ca = filepath.Join(h.bench.scratch, "ca-"+h.host+".pem")
	return os.WriteFile(h.ca, h.github.CAPEM(), 0o600)
}

// offerMore starts a server in front of the double that offers a second authentication
// method, as many company servers do. github.com offers only Basic.
func (h *hub) offerMore() error {
	target, err := url.Parse(h.github.URL())
	if err != nil {
		return err
	}
	h.front = httptest.NewTLSServer(&httputil.ReverseProxy{
		Transport: h.github.Client().Transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusUnauthorized {
				r.Header.Add("WWW-Authenticate", `Bearer realm="GitHub"`)
			}
			return nil
		},
	})
	h.url = h.front.URL
	h.host = strings.TrimPrefix(h.url, "https://")
	h.broker.Hosts = []string{h.host}
	certificate := pem.Block{Type: "CERTIFICATE", Bytes: h.front.Certificate().Raw}
	return os.WriteFile(h.ca, pem.EncodeToMemory(&certificate), 0o600)
}

func (h *hub) close() {
	if h.front != nil {
		h.front.Close()
	}
	if h.broker != nil {
		h.broker.close()
	}
	_ = h.github.Close()
}

// user returns a user whose git trusts the double, and whose workspace file names it.
func (h *hub) user(name string) (*testUser, error) {
	w, err := h.bench.newUser(name)
	if err != nil {
		return nil, err
	}
	if err := w.configure(`hosts: ["`+h.host+`"]`, `repos: ["acme/widgets"]`, h.broker.line()); err != nil {
		return nil, err
	}
	_, err = w.do("", "git", "config", "--global", "http."+h.url+".sslCAInfo", h.ca)
	return w, err
}

// lsRemote returns the measured git operation.
func (h *hub) lsRemote(w *testUser) command {
	c := w.command("git", "ls-remote", h.url+"/"+widgets)
	c.want = "refs/heads/main"
	return c
}
