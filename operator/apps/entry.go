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
	refusedWait = time.Minute      // how long GitHub is not asked with a key that it refused
)

// An entry caches the App of one Ref.
type entry struct {
	registry *Registry
	ref      Ref
	current  atomic.Pointer[App] // written under mu

	mu         sync.Mutex // guards the rest; held while the key is read
	definition definition // what current or failed was made for
	material   material   // what current was made from
	builtFrom  definition // the definition that current was built from
	read       time.Time  // when the key was read
	failed     error      // why there is no App; nil if there is one
	refused    *mint.Error
	refusedAt  time.Time
}

func (e *entry) now() time.Time { return e.registry.now() }

// get returns the App that w describes.
func (e *entry) get(ctx context.Context, w definition) (*App, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.definition != w || e.isDue(w) {
		within, cancel := context.WithTimeout(ctx, readWait)
		made, err := e.registry.read(within, e.ref, w)
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e.update(w, made, err)
	}
	switch {
	case e.failed != nil:
		return nil, e.failed
	case e.refused != nil && e.retryAfter() > 0:
		return nil, &NotReady{Reason: v1.ReasonKeyInvalid, Message: e.current.Load().Explain(e.refused), RetryAfter: e.retryAfter()}
	}
	return e.current.Load(), nil
}

// retryAfter returns how long the key is not tried again after GitHub refused it.
func (e *entry) retryAfter() time.Duration {
	return refusedWait - clock.Since(e.refusedAt, e.now())
}

// isDue reports whether the key must be reread.
func (e *entry) isDue(w definition) bool {
	age := clock.Since(e.read, e.now())
	switch {
	case e.read.IsZero(), age < 0:
		return true
	case e.failed != nil, e.refused != nil && w.isPEM():
		return age >= readAgain
	case e.refused != nil:
		return e.retryAfter() <= 0 // a KMS may have a new version by now
	}
	return w.isPEM() && age >= keyLife
}

// update records what was read. While that is unchanged, the App stays the same.
func (e *entry) update(w definition, made material, err error) {
	old := e.current.Load()
	isNew := e.builtFrom != w || made.identity != e.material.identity || made.basics != e.material.basics
	e.definition, e.read, e.failed = w, e.now(), err
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
	e.material, e.builtFrom, e.refused = made, w, nil
	e.current.Store(app)
}

func (e *entry) app(w definition, made material) *App {
	r := e.registry
	api, host := made.api()
	return &App{
		App: &mint.App{ID: made.id, Signer: made.signer, URL: api, Client: r.Client, Now: r.Now, Once: true},
		Ref: e.ref, InstallationID: made.installation, Provider: w.provider, Key: w.key,
		GitHub: made.github, Host: host, ValidateKey: w.validate,
		Pace: r.pace(made.github+" "+made.identity, e.ref), entry: e, accounts: newAccounts(), reasons: reasons{budget: budget{max: maxReasons}},
	}
}

// keyRefused records that GitHub refuses the key of an App. A 404 for the App counts as
// well.
func (e *entry) keyRefused(a *App, why *mint.Error) {
	a.self.forget(struct{}{})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current.Load() == a {
		e.refused, e.refusedAt = why, e.now()
	}
}

// keyAccepted records that GitHub accepts the key again.
func (e *entry) keyAccepted(a *App) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current.Load() == a {
		e.refused = nil
	}
}

// A definition is the App as the object or the operator's configuration describes it. Equal
// definitions describe the same App.
type definition struct {
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
func (w definition) isPEM() bool {
	return w.provider == v1.ProviderSecret || w.provider == ProviderFile
}

func configDefinition(c Config, github string) definition {
	return definition{
		id: c.id(), installation: int64(c.InstallationID), provider: cmp.Or(v1.Provider(c.Provider), ProviderFile), key: c.Key,
		github: github, operator: github, vault: c.Vault.query(), validate: c.ValidateKey,
	}
}

// specDefinition returns the definition of a spec. It refuses a spec that would send a signature
// made by the operator to another server: the operator's cloud identity signs only for
// the operator's own GitHub.
func (r *Registry) specDefinition(s v1.AppSpec, c Config) (definition, error) {
	w := definition{
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
		return w, notReady(0, "provider %s: secret needs keyRef; aws, gcp, azure and vault need key; correct provider, key and keyRef", s.Provider)
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
