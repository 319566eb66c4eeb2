package apps

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// A Registry provides the Apps in use. Apps, Secrets and GitHub must be set.
type Registry struct {
	Apps    client.Reader // reads App objects; may cache
	Secrets client.Reader // reads Secrets; must not cache
	GitHub  string        // the operator's GitHub, as its web address: https://github.com
	Own     *ConfigFile   // the operator's own configuration; nil means that it has no App of its own

	// Permit returns in denied why the policies do not let an App sign with its key, or
	// "" if they do. Each Get calls it before anything is read or signed. A nil Permit
	// denies every App except those with provider: secret.
	Permit func(ctx context.Context, app *v1.App) (denied, err error)

	Client *http.Client     // to GitHub; nil is mint's own
	Now    func() time.Time // nil is time.Now

	mu        sync.Mutex // guards the rest
	entries   map[Ref]*entry
	paceNames map[string]Ref // by key and GitHub
	dropped   []*mint.App    // Apps that were dropped and still have tokens to revoke
}

func (r *Registry) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

// Get returns the App that ref names. The error wraps [ErrNotFound] if the App does not
// exist, and is a [*NotReady] if it cannot be used.
func (r *Registry) Get(ctx context.Context, ref Ref) (*App, error) {
	w, err := r.definition(ctx, ref)
	if err != nil {
		return nil, err
	}
	return r.entry(ref).get(ctx, w)
}

// definition reads the object or the configuration of an App.
func (r *Registry) definition(ctx context.Context, ref Ref) (definition, error) {
	config := r.Own.Current()
	if ref.IsDefault() {
		if config.IsZero() {
			r.Drop(ref)
			return definition{}, &usererr.Error{Op: "find the App", Reason: "the operator has no App of its own", Hint: "set appRef, or give the operator a configuration with app_id", Err: ErrNotFound}
		}
		return configDefinition(config, r.GitHub), nil
	}
	var object v1.App
	err := r.Apps.Get(ctx, types.NamespacedName(ref), &object)
	if apierrors.IsNotFound(err) {
		r.Drop(ref)
		return definition{}, &usererr.Error{Op: "find the App " + ref.String(), Reason: "there is no such App", Hint: "create it, or correct appRef", Err: ErrNotFound}
	}
	if err != nil {
		return definition{}, err
	}
	if err := r.permit(ctx, &object); err != nil {
		return definition{}, err
	}
	return r.specDefinition(object.Spec, config)
}

// permit returns an error if the App may not sign with its key.
func (r *Registry) permit(ctx context.Context, app *v1.App) error {
	if r.Permit == nil {
		if app.Spec.Provider == v1.ProviderSecret {
			return nil
		}
		return &NotReady{Reason: v1.ReasonNotPermitted, Message: "the operator has no policies; provider " + string(app.Spec.Provider) + " needs one that lists its key"}
	}
	denied, err := r.Permit(ctx, app)
	if denied != nil {
		return &NotReady{Reason: v1.ReasonNotPermitted, Message: usererr.Escape(denied.Error())}
	}
	return err
}

func (r *Registry) entry(ref Ref) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = map[Ref]*entry{}
	}
	if r.entries[ref] == nil {
		r.entries[ref] = &entry{registry: r, ref: ref}
	}
	return r.entries[ref]
}

// Drop forgets an App that no longer exists. Tend still revokes the tokens that it has
// to revoke.
func (r *Registry) Drop(ref Ref) {
	r.mu.Lock()
	e := r.entries[ref]
	delete(r.entries, ref)
	r.mu.Unlock()
	if e == nil {
		return
	}
	if app := e.current.Load(); app != nil && app.PendingRevokes() > 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.dropped = append(r.dropped, app.App)
	}
}

// pace returns the name under which all Apps with one key are paced.
func (r *Registry) pace(key string, ref Ref) Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paceNames == nil {
		r.paceNames = map[string]Ref{}
	}
	if _, known := r.paceNames[key]; !known {
		r.paceNames[key] = ref
	}
	return r.paceNames[key]
}

// Upkeep revokes minted tokens that must not be used, and renews logins to Vault. Call it
// every few seconds. It returns all failures, joined; the next call retries them.
func (r *Registry) Upkeep(ctx context.Context) error {
	var failed []error
	for _, app := range r.all() {
		if app.PendingRevokes() > 0 {
			failed = append(failed, app.RevokePending(ctx))
		}
		if s, ok := app.Signer.(interface{ Upkeep(context.Context) }); ok {
			s.Upkeep(ctx)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped = slices.DeleteFunc(r.dropped, func(a *mint.App) bool { return a.PendingRevokes() == 0 })
	return usererr.Join(failed...)
}

// all returns the Apps in use and those that were dropped.
func (r *Registry) all() []*mint.App {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*mint.App
	for _, e := range r.entries {
		if app := e.current.Load(); app != nil {
			all = append(all, app.App)
		}
	}
	return append(all, r.dropped...)
}
