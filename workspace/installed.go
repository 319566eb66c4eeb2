package workspace

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// knowledge is what is known of the App's installations.
type installations struct {
	installed []mint.Installation
	failed    map[string]error // owners, in lower case, about whom GitHub could not be asked
	members   []member         // the Apps of a pool; nil where there is one App
}

// lookUp finds out where the App is installed, as far as the record needs it.
func (i *Issuer) lookUp(ctx context.Context, r *Record) (installations, error) {
	if len(r.Repositories) == 0 || r.Destroying {
		return installations{}, nil
	}
	if i.Pool != nil {
		return i.lookUpAll(ctx, r)
	}
	if i.Installed != nil {
		installed, err := i.Installed(ctx)
		return installations{installed: installed}, err
	}
	installed, err := i.installedFor(ctx, r)
	if err != nil || i.Unready != nil {
		return installations{installed: installed}, err
	}
	return i.complete(ctx, r, installed)
}

// installedFor returns the installations that the store knows, at least those that the
// record needs. A pass has them listed once for all its runs. A single run reads them by
// name: a list costs some stores a look at everything.
func (i *Issuer) installedFor(ctx context.Context, r *Record) ([]mint.Installation, error) {
	if i.cache != nil || slices.ContainsFunc(r.Repositories, mint.Pattern.Everything) {
		return i.cache.stored(ctx, i)
	}
	from := i.Store
	if i.ofApp != nil {
		from = i.ofApp
	}
	var all []mint.Installation
	for _, owner := range ownersOf(r.Repositories, nil) {
		name, err := store.Installation(owner)
		if err != nil {
			return i.cache.stored(ctx, i)
		}
		entry, err := from.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) { // the first system may have left it in another case
			return i.cache.stored(ctx, i)
		}
		if err != nil {
			return nil, err
		}
		in, err := installation(name, entry)
		if err != nil {
			return nil, err
		}
		all = append(all, in)
	}
	return all, nil
}

// installation reads the entry of one.
func installation(name store.Name, entry store.Entry) (mint.Installation, error) {
	id, err := strconv.ParseInt(strings.TrimSpace(entry.Value.Reveal()), 10, 64)
	if err != nil || id <= 0 {
		return mint.Installation{}, usererr.New("read "+name.String(), "it is no installation's id", "run gatepass app discover --force")
	}
	login, _ := name.Owner()
	return mint.Installation{ID: id, Account: mint.Account{Login: login}}, nil
}

// ownersOf are the accounts, in lower case, that patterns name; "*" names every
// installation's.
func ownersOf(patterns []mint.Pattern, installed []mint.Installation) []string {
	var owners []string
	for _, p := range patterns {
		if !p.Everything() {
			owners = append(owners, p.Owner())
			continue
		}
		for _, in := range installed {
			if !in.Suspended() {
				owners = append(owners, strings.ToLower(in.Account.Login))
			}
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// complete asks GitHub about owners that the store does not know: the App may
// have been installed there since the last gatepass app discover. It is never
// another account's installation that answers.
func (i *Issuer) complete(ctx context.Context, r *Record, installed []mint.Installation) (installations, error) {
	k := installations{installed: slices.Clip(installed), failed: map[string]error{}}
	for _, owner := range ownersOf(r.Repositories, nil) {
		if isOn(installed, owner) {
			continue
		}
		found, err := i.cache.of(ctx, i, owner)
		if ctx.Err() != nil {
			return k, ctx.Err()
		}
		if err != nil {
			k.failed[owner] = unresolved{i.named(ctx, r, owner, err)}
			continue
		}
		k.installed = append(k.installed, found)
	}
	return k, nil
}

// named says what an owner is called by now, where GitHub does not know the name any
// more.
func (i *Issuer) named(ctx context.Context, r *Record, owner string, err error) error {
	if failure, ok := errors.AsType[*mint.Error](err); !ok || failure.Kind != mint.NotInstalled {
		return err
	}
	installation := int64(0)
	for _, t := range r.Tokens {
		if strings.EqualFold(t.Owner, owner) && t.Installation != 0 {
			installation = t.Installation
		}
	}
	if why := i.App.Renamed(ctx, owner, installation, r.Repositories); why != nil {
		return why
	}
	return err
}

// StoredInstallations reads the installations that the store knows: by login and
// id only. Where the first system left the same account in another case, the
// entry in lower case counts.
func StoredInstallations(ctx context.Context, s store.Store) ([]mint.Installation, error) {
	all, _, err := storedInstallations(ctx, s)
	return all, err
}

// storedInstallations also returns when the latest of them was written.
func storedInstallations(ctx context.Context, s store.Store) (all []mint.Installation, changed time.Time, err error) {
	canonical := map[string]bool{}
	for name, err := range s.List(ctx, store.Installations()) {
		if err != nil {
			return nil, changed, err
		}
		entry, err := s.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, changed, err
		}
		if entry.Modified.After(changed) {
			changed = entry.Modified
		}
		in, err := installation(name, entry)
		if err != nil {
			return nil, changed, err
		}
		canonical[in.Account.Login] = in.Account.Login == strings.ToLower(in.Account.Login)
		all = append(all, in)
	}
	return slices.DeleteFunc(all, func(i mint.Installation) bool {
		return !canonical[i.Account.Login] && canonical[strings.ToLower(i.Account.Login)]
	}), changed, nil
}
