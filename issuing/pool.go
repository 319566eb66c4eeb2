package issuing

import (
	"context"
	"errors"
	"slices"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// A Member is one App of a store: the first, or one of its pool.
type Member struct {
	Name  string      // "" for the first
	Store store.Store // as the App sees it; see [store.OfApp]
	App   *App        // nil if Err is set
	Err   error       // why the App cannot be used
}

// Title returns the App's name for people: "the App", or "the App NAME of the pool".
func (m Member) Title() string {
	if m.Name == "" {
		return "the App"
	}
	return "the App " + m.Name + " of the pool"
}

// Members opens all Apps of a store, the first App first. For a store with one App it
// needs one read more than LoadApp. github is as for LoadApp. The error is about the
// whole pool; the error of one App is in its Member.
func Members(ctx context.Context, s store.Store, github string) ([]Member, error) {
	return members(ctx, s, loadUncached(s, github))
}

// loadUncached returns a load that opens an App anew each time.
func loadUncached(s store.Store, github string) loadFunc {
	return func(ctx context.Context, name string) (*App, error) {
		of, err := store.OfApp(s, name)
		if err != nil {
			return nil, err
		}
		return LoadApp(ctx, of, github)
	}
}

func members(ctx context.Context, s store.Store, open loadFunc) ([]Member, error) {
	first := Member{Store: s}
	first.App, first.Err = open(ctx, "")
	names, err := store.PoolApps(ctx, s)
	if err != nil {
		return nil, err
	}
	all := []Member{first}
	for _, name := range names {
		m := Member{Name: name}
		if m.Store, err = store.OfApp(s, name); err != nil {
			return nil, err
		}
		m.App, m.Err = open(ctx, name)
		if m.Err == nil && first.App != nil && m.App.URL != first.App.URL {
			m.App, m.Err = nil, usererr.New("use "+m.Title(), "it is of "+m.App.GitHub+", but the first App is of "+first.App.GitHub, "set it up again: gatepass app add --pool "+name+" --force")
		}
		all = append(all, m)
	}
	return all, nil
}

// poolOf returns the pool for an issuer. bare revokes the tokens of Apps that cannot be
// used.
func poolOf(others []Member, bare *App, choice *mint.Pool) *workspace.Pool {
	p := &workspace.Pool{Choice: choice}
	for _, m := range others {
		app := bare.App
		if m.App != nil {
			app = m.App.App
		}
		p.Apps = append(p.Apps, workspace.PoolApp{Name: m.Name, App: app, Store: m.Store, NotReady: m.Err})
	}
	return p
}

// AddToPool adds an App to the pool: it writes its credentials, and then its name. It fails
// if the App is of another GitHub than the first App, or has the same ID. mode is as
// for Save.
func AddToPool(ctx context.Context, s store.Store, name string, c Credentials, mode store.Mode) error {
	of, err := store.OfApp(s, name)
	if err != nil {
		return err
	}
	if err := CheckAddToPool(ctx, s, name, c, mode); err != nil {
		return err
	}
	if err := Save(ctx, of, c, mode); err != nil {
		return err
	}
	names, err := store.PoolApps(ctx, s)
	if err != nil || slices.Contains(names, name) {
		return err
	}
	if err := store.SetPoolApps(ctx, s, append(names, name)); err != nil {
		return err
	}
	// Another run may have overwritten the list with its own name.
	if names, err = store.PoolApps(ctx, s); err == nil && !slices.Contains(names, name) {
		err = usererr.New("add "+Member{Name: name}.Title(), "another run changed the pool at the same time", "run it again with --force")
	}
	return err
}

// CheckAddToPool returns the error with which Join would fail before it writes anything.
// Credentials without an ID are for an App that does not exist yet.
func CheckAddToPool(ctx context.Context, s store.Store, name string, c Credentials, mode store.Mode) error {
	if err := store.CheckApp(name); err != nil {
		return err
	}
	what := "add " + Member{Name: name}.Title()
	of, err := store.OfApp(s, name)
	if err != nil {
		return err
	}
	if mode == store.CreateOnly {
		if err := CheckFree(ctx, of); errors.Is(err, store.ErrExists) {
			return &usererr.Error{Op: what, Reason: "it is set up already", Hint: "add --force to replace it, or list it: gatepass app status", Err: err}
		} else if err != nil {
			return err
		}
	}
	return canAddToPool(ctx, s, name, c, what)
}

// canAddToPool checks an App against those in the store.
func canAddToPool(ctx context.Context, s store.Store, name string, c Credentials, what string) error {
	first, err := LoadID(ctx, s)
	if err != nil {
		return usererr.Wrap(what, err, "set the first App up without --pool")
	}
	github, err := GitHub(ctx, s, "")
	if err != nil {
		return err
	}
	if own, _ := mint.APIURL(github); c.api() != own {
		return usererr.New(what, "the first App is of "+github, "use the same GitHub")
	}
	names, err := store.PoolApps(ctx, s)
	if err != nil {
		return err
	}
	ids := map[string]string{first: "the first App has"}
	for _, other := range names {
		of, err := store.OfApp(s, other)
		if err != nil {
			return err
		}
		if id, err := LoadID(ctx, of); err == nil && other != name {
			ids[id] = "the App " + other + " has"
		}
	}
	if whose := ids[c.ID]; whose != "" {
		return usererr.New(what, whose+" this ID already, so it would share that App's limit", "name another App")
	}
	return nil
}

// WithChecksOf returns the IDs of the workspaces in the ledger whose check runs only this
// App of the pool can update; see [workspace.WithChecksOf].
func WithChecksOf(ctx context.Context, s store.Store, name string) ([]string, error) {
	of, err := store.OfApp(s, name)
	if err != nil {
		return nil, err
	}
	installed, err := workspace.StoredInstallations(ctx, of)
	if err != nil || len(installed) == 0 {
		return nil, err
	}
	var all []int64
	for _, in := range installed {
		all = append(all, in.ID)
	}
	return workspace.WithChecksOf(ctx, s, all...)
}

// RemoveFromPool removes an App from the pool, and deletes its entries in the store. Workspaces
// that use it move to another App with their next token, and check runs that they made with
// it cannot be updated any more; see [WithChecksOf]. The tokens that it minted can still be
// revoked.
func RemoveFromPool(ctx context.Context, s store.Store, name string) error {
	if err := store.CheckApp(name); err != nil {
		return err
	}
	names, err := store.PoolApps(ctx, s)
	if err != nil {
		return err
	}
	if at := slices.Index(names, name); at >= 0 {
		if err := store.SetPoolApps(ctx, s, slices.Delete(names, at, at+1)); err != nil {
			return err
		}
	}
	of, err := store.OfApp(s, name)
	if err != nil {
		return err
	}
	kept, err := StoredNames(ctx, of)
	if err != nil {
		return err
	}
	for installation, err := range of.List(ctx, store.Installations()) {
		if err != nil {
			return err
		}
		kept = append(kept, installation)
	}
	if len(kept) == 0 {
		return &usererr.Error{Op: "remove " + Member{Name: name}.Title(), Reason: "the store has no App of that name", Hint: "list the Apps: gatepass app status", Err: store.ErrNotFound}
	}
	for _, entry := range kept {
		if err := of.Delete(ctx, entry); err != nil {
			return err
		}
	}
	return nil
}

// RequireInPool returns an error unless the store's pool has an App of that name.
func RequireInPool(ctx context.Context, s store.Store, name string) error {
	if err := store.CheckApp(name); err != nil {
		return err
	}
	names, err := store.PoolApps(ctx, s)
	if err == nil && !slices.Contains(names, name) {
		err = &usererr.Error{Op: "load " + Member{Name: name}.Title(), Reason: "the store has no App of that name", Hint: "run gatepass app add --pool " + name + ", or list the Apps: gatepass app status", Err: store.ErrNotFound}
	}
	return err
}
