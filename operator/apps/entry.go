package apps

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

const (
	keyLife     = time.Minute      // a key is reread after this
	readWait    = 10 * time.Second // timeout for the API server's answer
	readAgain   = 5 * time.Second  // a key is never reread sooner than this
	retryRead   = time.Minute      // when users of an App without a key retry; the App's controller checks sooner
	refusedRest = time.Minute      // how long GitHub is not asked with a key that it refused
)

// An entry caches the App of one Ref.
type entry struct {
	registry *Registry
	ref      Ref
	current  atomic.Pointer[App] // written under mu

	mu        sync.Mutex // guards the rest; held while the key is read
	wish      wish       // what current or failed was made for
	made      material   // what current was made from
	of        wish       // the wish that current was made for
	read      time.Time  // when the key was read
	failed    error      // why there is no App; nil if there is one
	refused   *mint.Error
	refusedAt time.Time
}

func (e *entry) now() time.Time { return e.registry.now() }

// get returns the App that w describes.
func (e *entry) get(ctx context.Context, w wish) (*App, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.wish != w || e.isDue(w) {
		within, cancel := context.WithTimeout(ctx, readWait)
		made, err := e.registry.read(within, e.ref, w)
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e.take(w, made, err)
	}
	switch {
	case e.failed != nil:
		return nil, e.failed
	case e.refused != nil && e.rest() > 0:
		return nil, &NotReady{Reason: v1.ReasonKeyInvalid, Message: e.current.Load().Explain(e.refused), RetryAfter: e.rest()}
	}
	return e.current.Load(), nil
}

// rest returns how long the key is not tried again after GitHub refused it.
func (e *entry) rest() time.Duration {
	return refusedRest - clock.Since(e.refusedAt, e.now())
}

// isDue reports whether the key must be reread.
func (e *entry) isDue(w wish) bool {
	age := clock.Since(e.read, e.now())
	switch {
	case e.read.IsZero(), age < 0:
		return true
	case e.failed != nil, e.refused != nil && w.isPEM():
		return age >= readAgain
	case e.refused != nil:
		return e.rest() <= 0 // a KMS may have a new version by now
	}
	return w.isPEM() && age >= keyLife
}

// take records what was read. While that is unchanged, the App stays the same.
func (e *entry) take(w wish, made material, err error) {
	old := e.current.Load()
	isNew := e.of != w || made.identity != e.made.identity || made.basics != e.made.basics
	e.wish, e.read, e.failed = w, e.now(), err
	if err != nil {
		return
	}
	if old != nil && !isNew && (e.refused == nil || w.isPEM()) {
		return
	}
	app := e.app(w, made)
	if old != nil {
		app.Inherit(old.App)
		if old.ID == app.ID && old.GitHub == app.GitHub {
			app.accounts = old.accounts
		}
	}
	e.made, e.of, e.refused = made, w, nil
	e.current.Store(app)
}

func (e *entry) app(w wish, made material) *App {
	r := e.registry
	api, host := made.api()
	return &App{
		App: &mint.App{ID: made.id, Signer: made.signer, URL: api, Client: r.Client, Now: r.Now, Once: true},
		Ref: e.ref, InstallationID: made.installation, Provider: w.provider, Key: w.key,
		GitHub: made.github, Host: host, ValidateKey: w.validate,
		Pace: r.pace(made.github+" "+made.identity, e.ref), entry: e, accounts: newAccounts(), reasons: reasons{budget: budget{most: mostReasons}},
	}
}

// refuse records that GitHub refuses the key of an App. A 404 for the App counts as
// well.
func (e *entry) refuse(a *App, why *mint.Error) {
	a.self.forget(struct{}{})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current.Load() == a {
		e.refused, e.refusedAt = why, e.now()
	}
}

// accept records that GitHub accepts the key again.
func (e *entry) accept(a *App) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current.Load() == a {
		e.refused = nil
	}
}

// A wish is the App as the object or the operator's configuration describes it. Equal
// wishes describe the same App.
type wish struct {
	id           string // "" means that the Secret names it
	installation int64
	provider     v1.Provider
	key          string // in a KMS; a path for ProviderFile
	secret       v1.KeyReference
	github       string // "" means that the Secret names it, otherwise the operator's
	operator     string // the operator's GitHub
	vault        string // query of the URLs of Vault keys
	validate     bool
}

// isPEM reports whether the private key itself is read from the provider.
func (w wish) isPEM() bool { return w.provider == v1.ProviderSecret || w.provider == ProviderFile }

func wishOfConfig(c Config, github string) wish {
	return wish{
		id: c.id(), installation: int64(c.InstallationID), provider: cmp.Or(v1.Provider(c.Provider), ProviderFile), key: c.Key,
		github: github, operator: github, vault: c.Vault.query(), validate: c.ValidateKey,
	}
}

// wishOfSpec returns the wish of a spec. It refuses a spec that would send a signature
// made by the operator to another server: the operator's cloud identity signs only for
// the operator's own GitHub.
func (r *Registry) wishOfSpec(s v1.AppSpec, c Config) (wish, error) {
	w := wish{
		id: s.ClientID, installation: s.InstallationID, provider: s.Provider, key: s.Key,
		github: s.GitHubURL, operator: r.GitHub, vault: c.Vault.query(), validate: s.ValidateKey,
	}
	if s.AppID != 0 {
		w.id = strconv.FormatInt(s.AppID, 10)
	}
	if s.KeyRef != nil {
		w.secret = *s.KeyRef
	}
	if w.isPEM() != (s.Provider == v1.ProviderSecret) || w.isPEM() != (s.KeyRef != nil) || w.isPEM() == (s.Key != "") {
		return w, notReady(0, "provider %s: it goes with keyRef where it is secret, and with key where it is aws, gcp, azure or vault; correct provider, key and keyRef", s.Provider)
	}
	if !w.isPEM() && s.GitHubURL != "" && !isSameGitHub(s.GitHubURL, r.GitHub) {
		return w, notReady(0, "githubURL %s: provider %s signs with the operator's identity, for %s only; remove githubURL, or use provider: secret", s.GitHubURL, s.Provider, r.GitHub)
	}
	return w, nil
}

func isSameGitHub(one, other string) bool {
	a, err := mint.APIURL(one)
	b, err2 := mint.APIURL(other)
	return err == nil && err2 == nil && a == b
}

// notReady returns the error of an App that cannot be used as it is.
func notReady(after time.Duration, format string, args ...any) *NotReady {
	return &NotReady{Reason: v1.ReasonAppNotReady, Message: fmt.Sprintf(format, args...), RetryAfter: after}
}
