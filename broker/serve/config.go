package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/internal/filestamp"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
)

// checkEvery is how often the configuration's files are checked for changes.
const checkEvery = time.Second

// A generation is one state of the configuration. It is never changed.
type generation struct {
	number int
	file   *config.File
	policy *broker.Policy
}

// A configuration is the generation in force, and the state of the files for the next
// one.
type configuration struct {
	path    string
	known   *config.Identifiers // kept over reloads
	journal broker.Journal
	log     *slog.Logger
	metrics *Metrics
	github  string // GitHub's URL if the file has neither hosts nor github_url; "" means github.com

	current atomic.Pointer[generation]

	mu       sync.Mutex                 // guards the rest
	seen     map[string]filestamp.Stamp // the files' state when they were last read
	profiles []string                   // the profiles setting in the file that was last read
	rejected error                      // why the files are not in force; nil if they are
}

// begin puts the first generation into force.
func (c *configuration) begin(ctx context.Context, f *config.File, seen map[string]filestamp.Stamp) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen, c.profiles = seen, f.Profiles
	return c.apply(ctx, f)
}

// findGitHub reads from the store which GitHub the App belongs to, if the file does not
// say: the broker serves its host.
func (c *configuration) findGitHub(ctx context.Context, f *config.File, s store.Store, getenv func(string) string) (err error) {
	if len(f.Hosts) == 0 && f.GitHubURL == "" {
		c.github, err = issuing.GitHub(ctx, s, getenv(issuing.GitHubVariable))
	}
	return err
}

func (c *configuration) file() *config.File     { return c.current.Load().file }
func (c *configuration) policy() *broker.Policy { return c.current.Load().policy }

// problem returns why the files are not in force; nil if they are.
func (c *configuration) problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rejected
}

// apply compiles a file into a policy. It puts the policy into force after recording
// that in the audit log. The caller holds mu.
func (c *configuration) apply(ctx context.Context, f *config.File) error {
	named := *f
	if named.GitHubURL == "" {
		named.GitHubURL = c.github
	}
	p, err := named.Policy(c.known)
	if err != nil {
		return err
	}
	number := 1
	if last := c.current.Load(); last != nil {
		number = last.number + 1
	}
	e := broker.Entry{Time: time.Now().UTC(), Kind: broker.KindConfig, Policy: p.Hash, Detail: fmt.Sprintf("generation %d is in force: %d rules", number, len(p.Rules))}
	if err := c.journal.Write(ctx, e, true); err != nil {
		return err
	}
	c.current.Store(&generation{number, f, p})
	c.log.Info("the configuration is in force", "generation", number, "policy", p.Hash, "rules", len(p.Rules))
	for _, w := range f.Warnings() {
		c.log.Warn(w)
	}
	return nil
}

// reload reads the files again if they changed, or if isAsked. If they are wrong, the
// last good policy stays in force, and the error is logged once.
func (c *configuration) reload(ctx context.Context, isAsked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := stampsOf(c.path, c.profiles)
	if maps.Equal(now, c.seen) && !isAsked {
		return
	}
	c.seen = now
	f, err := config.Load(c.path)
	if where, ok := config.ProfilesOf(c.path); ok {
		c.profiles = where // also of a rejected file: the next fix may be in a profile
	}
	if err == nil && f.Hash == c.policy().Hash {
		c.rejected = nil
		return
	}
	c.metrics.Reloads.Inc()
	if err == nil {
		c.warnOfRestart(f)
		if err = c.apply(ctx, f); err != nil {
			c.seen = nil // the cause, such as a full disk, may pass
		}
	}
	c.reject(err)
}

// reject records why the files are not in force, and logs it once. The caller holds mu.
func (c *configuration) reject(err error) {
	was := c.rejected
	c.rejected = err
	if err == nil {
		return
	}
	c.metrics.ReloadsFailed.Inc()
	if was == nil || was.Error() != err.Error() {
		c.log.Error("the configuration is rejected; the last good one stays in force", "error", err.Error())
	}
}

// warnOfRestart logs which changes need a restart.
func (c *configuration) warnOfRestart(f *config.File) {
	old := *c.file()
	var fixed []string
	for _, part := range []struct {
		name string
		a, b any
	}{
		{"listen", old.Listen, f.Listen},
		{"tls", old.TLS, f.TLS},
		{"store", old.Store, f.Store},
		{"github_url", old.GitHubURL, f.GitHubURL},
		{"upstream_proxy, upstream_ca or no_proxy", old.Upstream, f.Upstream},
		{"audit", old.Audit, f.Audit},
		{"metrics", old.Metrics, f.Metrics},
		{"pprof", old.Pprof, f.Pprof},
		{"gateway", old.Gateway != nil, f.Gateway != nil},
		{"socket_mode", old.SocketMode, f.SocketMode},
		{"log.format", old.Log.Format, f.Log.Format},
		{"limits.connections", old.Limits.Connections, f.Limits.Connections},
	} {
		if !reflect.DeepEqual(part.a, part.b) {
			fixed = append(fixed, part.name)
		}
	}
	if len(fixed) > 0 {
		c.log.Warn("restart the broker to apply the changed keys", "keys", strings.Join(fixed, ", "))
	}
}

// stampsOf returns the states of the configuration's files, by path.
func stampsOf(path string, profiles []string) map[string]filestamp.Stamp {
	paths := []string{path}
	for _, pattern := range profiles {
		found, _ := filepath.Glob(pattern) // a malformed pattern finds nothing
		paths = append(paths, found...)
	}
	all := map[string]filestamp.Stamp{}
	for _, p := range paths {
		all[p], _ = filestamp.Of(p) // a missing file has a stamp, too
	}
	return all
}

// routeOf returns the route to GitHub that a configuration describes.
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
		return "", errors.New("upstream_proxy_login_file: the file must be one line USER:PASSWORD")
	}
	return login, nil
}

// githubWait is the timeout of one call of GitHub's API.
const githubWait = 30 * time.Second

// clientWith returns the client for minting, with a route.
func clientWith(r access.Route) *http.Client {
	t := httpclient.Transport()
	t.DisableCompression = false // lists of installations with their permissions are long
	r.Apply(t)
	return &http.Client{Transport: t, Timeout: githubWait}
}

// warnOfProxy logs if the environment names a proxy that the gateway does not use.
func (d *daemon) warnOfProxy(f *config.File) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		if f.Gateway != nil && f.Upstream.IsZero() && d.getenv(name) != "" {
			d.log.Warn("the gateway does not use the environment's proxy, which is for minting only; set upstream_proxy in the configuration", "variable", name)
			return
		}
	}
}
