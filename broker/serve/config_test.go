package serve

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/connectproxy"
	"github.com/gatepass/gatepass/test/storetest"
)

// The host is that of the App's GitHub, unless the file names another: a token of an
// Enterprise Server is not for github.com.
func TestHostsAreThoseOfTheStore(t *testing.T) {
	nothing := func(string) string { return "" }
	of := func(f *config.File, s store.Store) string {
		t.Helper()
		c := &configuration{}
		if err := c.findGitHub(t.Context(), f, s, nothing); err != nil {
			t.Fatal(err)
		}
		return c.github
	}
	s := new(storetest.Memory)
	if got := of(new(config.File), s); got != mint.DefaultGitHub {
		t.Errorf("with an empty store: %q, want github.com", got)
	}
	if err := s.Put(t.Context(), store.GitHubURL(), store.NewSecret("https://ghe.example"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	if got := of(new(config.File), s); got != "https://ghe.example" {
		t.Errorf("with an Enterprise Server in the store: %q", got)
	}
	if got := of(&config.File{Hosts: []string{"x.example"}}, s); got != "" {
		t.Errorf("with hosts in the file: %q, want the store not to matter", got)
	}
}

// A company's proxy is between the broker and GitHub, and GitHub's certificate is of
// the company's own authority. Minting and git both use the configured route, and no
// other.
func TestTheWayToGitHub(t *testing.T) {
	if testing.Short() {
		t.Skip("starts brokers that wait for GitHub")
	}
	for name, c := range map[string]struct {
		login, file string // what the proxy requires, and what the file contains
		keys        string // in the configuration
		works       bool
		through     bool // the proxy
	}{
		"through a proxy":              {keys: "upstream_proxy: @PROXY@\nupstream_ca: @DIR@/ca.pem", works: true, through: true},
		"with a login":                 {login: "km:pa:ss", file: "km:pa:ss\n", keys: "upstream_proxy: @PROXY@\nupstream_proxy_login_file: @DIR@/login\nupstream_ca: @DIR@/ca.pem", works: true, through: true},
		"with a wrong login":           {login: "km:pass", file: "km:word", keys: "upstream_proxy: @PROXY@\nupstream_proxy_login_file: @DIR@/login\nupstream_ca: @DIR@/ca.pem"},
		"with no login":                {login: "km:pass", keys: "upstream_proxy: @PROXY@\nupstream_ca: @DIR@/ca.pem"},
		"past the proxy":               {keys: "upstream_proxy: @PROXY@\nno_proxy: [127.0.0.1]\nupstream_ca: @DIR@/ca.pem", works: true},
		"without GitHub's authority":   {keys: "upstream_proxy: @PROXY@", through: true},
		"with the authority only":      {keys: "upstream_ca: @DIR@/ca.pem", works: true},
		"through a proxy that is gone": {keys: "upstream_proxy: http://127.0.0.1:1\nupstream_ca: @DIR@/ca.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.addApp(1)
			proxy := connectproxy.New(t, c.login)
			if c.file != "" {
				w.write("login", c.file)
			}
			w.env = slices.DeleteFunc(w.env, func(pair string) bool { return strings.HasPrefix(pair, "SSL_CERT_FILE=") })
			w.env = append(w.env, "HTTPS_PROXY=http://127.0.0.1:1") // must have no effect
			address := freeAddress(t)
			w.write("broker.yaml", strings.NewReplacer(
				"listen: unix://@DIR@/broker.sock", "gateway: {}\nlisten: [unix://@DIR@/broker.sock, 'http://"+address+"']\n"+strings.ReplaceAll(c.keys, "@PROXY@", proxy.URL),
			).Replace(testConfig))
			p := w.start()
			session := w.session(p)
			got := w.token("acme/r0", "read")
			out, err := w.gitCommand(session, "ls-remote", "http://"+address+"/acme/r0.git").CombinedOutput()
			if c.works && (got.status != 200 || err != nil) || !c.works && (got.status != 503 || err == nil) {
				t.Errorf("a token: %d %s; git: %s, want that both work: %v", got.status, got.body, out, c.works)
			}
			targets := proxy.Targets()
			if isThrough := len(targets) > 0; isThrough != c.through || slices.ContainsFunc(targets, func(to string) bool { return "https://"+to != w.gh.URL() }) {
				t.Errorf("the proxy connected to %q, want GitHub: %v", targets, c.through)
			}
			if !c.works && w.gh.Counts().Mints != 0 {
				t.Error("GitHub was reached another way")
			}
			if log := p.log.String(); strings.Contains(log, "pa:ss") || strings.Contains(log, "km:") {
				t.Errorf("the log has the login: %s", log)
			}
			p.end(15)
		})
	}
}
