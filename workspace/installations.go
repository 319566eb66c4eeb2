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

// installations says where Apps are installed, as far as a record needs it.
type installations struct {
	installed []mint.Installation // one for each account, of the first App that is installed there
	failed    map[string]error    // owners, in lower case, that the broker could not ask GitHub about
	members   []member            // the Apps of a pool; nil if there is one App
}

// member is one App of a pool, with its installations.
type member struct {
	minter
	installed []mint.Installation
}

// stored returns the installations of all Apps in the store: one for each account, that
// of the first App installed there.
func (a apps) stored(ctx context.Context) ([]mint.Installation, error) {
	var all []mint.Installation
	for _, m := range a.minters {
		of, err := m.stored(ctx)
		if err != nil {
			return nil, err
		}
		if a.pool == nil {
			return of, nil
		}
		all = merged(all, of)
	}
	return all, nil
}

// findInstallations finds out where the Apps are installed, as far as the record needs it.
func (a apps) findInstallations(ctx context.Context, r *Record) (installations, error) {
	if len(r.Repositories) == 0 || r.Destroying {
		return installations{}, nil
	}
	if a.pool != nil {
		return a.findAllInstallations(ctx, r)
	}
	if a.installed != nil {
		installed, err := a.installed(ctx)
		return installations{installed: installed}, err
	}
	only := a.minters[0]
	installed, err := only.storedFor(ctx, r)
	if err != nil || only.NotReady != nil {
		return installations{installed: installed}, err
	}
	return only.findMissing(ctx, r, installed)
}

// findAllInstallations is findInstallations for a pool. It asks GitHub about owners that are in no App's
// entries.
func (a apps) findAllInstallations(ctx context.Context, r *Record) (installations, error) {
	var k installations
	for _, m := range a.minters {
		installed, err := m.stored(ctx)
		if err != nil {
			return k, err
		}
		k.installed = merged(k.installed, installed)
		k.members = append(k.members, member{m, installed})
	}
	for at := range k.members {
		m := &k.members[at]
		if m.NotReady != nil {
			continue
		}
		more, err := m.findMissing(ctx, r, k.installed)
		if err != nil {
			return k, err
		}
		m.installed = append(slices.Clip(m.installed), more.installed[len(k.installed):]...)
		k.installed = more.installed
		for owner, err := range more.failed {
			if k.failed == nil {
				k.failed = map[string]error{}
			}
			if k.failed[owner] == nil {
				k.failed[owner] = err
			}
		}
	}
	return k, nil
}

// merged adds the installations on accounts that are not in all.
func merged(all, more []mint.Installation) []mint.Installation {
	all = slices.Clip(all)
	for _, in := range more {
		if !isOn(all, in.Account.Login) {
			all = append(all, in)
		}
	}
	return all
}

func isOn(installed []mint.Installation, owner string) bool {
	return slices.ContainsFunc(installed, func(in mint.Installation) bool { return strings.EqualFold(in.Account.Login, owner) })
}

// stored returns the installations in the store. The runs of a round read them once.
func (m minter) stored(ctx context.Context) ([]mint.Installation, error) {
	l := m.learned
	if l == nil {
		return StoredInstallations(ctx, m.Store)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isLoaded {
		return l.known, nil
	}
	known, changed, err := storedInstallations(ctx, m.Store)
	if err == nil {
		l.known, l.changed, l.isLoaded = known, changed, true
	}
	return known, err
}

// storedFor returns the installations in the store, or at least those that the record
// needs. A round lists them once for all its runs. A single run reads them by name,
// because listing reads everything in some stores.
func (m minter) storedFor(ctx context.Context, r *Record) ([]mint.Installation, error) {
	if m.learned != nil || slices.ContainsFunc(r.Repositories, mint.Pattern.Everything) {
		return m.stored(ctx)
	}
	var all []mint.Installation
	for _, owner := range ownersOf(r.Repositories, nil) {
		name, err := store.Installation(owner)
		if err != nil {
			return m.stored(ctx)
		}
		entry, err := m.Store.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) { // the first system may have written it in another case
			return m.stored(ctx)
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

// findMissing asks GitHub about owners that are not in the store: the App may have been
// installed there since the last gatepass app discover. It never uses another account's
// installation.
func (m minter) findMissing(ctx context.Context, r *Record, installed []mint.Installation) (installations, error) {
	k := installations{installed: slices.Clip(installed), failed: map[string]error{}}
	for _, owner := range ownersOf(r.Repositories, nil) {
		if isOn(installed, owner) {
			continue
		}
		found, err := m.find(ctx, owner)
		if ctx.Err() != nil {
			return k, ctx.Err()
		}
		if err != nil {
			k.failed[owner] = unresolved{m.renamed(ctx, r, owner, err)}
			continue
		}
		k.installed = append(k.installed, found)
	}
	return k, nil
}

// find returns the installation on an account according to GitHub. The runs of a round
// ask only once.
func (m minter) find(ctx context.Context, owner string) (mint.Installation, error) {
	l := m.learned
	if l == nil {
		return m.App.InstallationOf(ctx, owner)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failed[owner]; err != nil {
		return mint.Installation{}, err
	}
	if found, ok := l.foundOwners[owner]; ok {
		return found, nil
	}
	found, err := m.App.InstallationOf(ctx, owner)
	if err != nil {
		l.remember(owner, err, m.clock.now())
		return found, err
	}
	if l.foundOwners == nil {
		l.foundOwners = map[string]mint.Installation{}
	}
	l.foundOwners[owner] = found
	return found, nil
}

// renamed returns an owner's new name if GitHub no longer knows the old one.
func (m minter) renamed(ctx context.Context, r *Record, owner string, err error) error {
	if failure, ok := errors.AsType[*mint.Error](err); !ok || failure.Kind != mint.NotInstalled {
		return err
	}
	installation := int64(0)
	for _, t := range r.Tokens {
		if strings.EqualFold(t.Owner, owner) && t.Installation != 0 {
			installation = t.Installation
		}
	}
	if why := m.App.Renamed(ctx, owner, installation, r.Repositories); why != nil {
		return why
	}
	return err
}

// installation parses the entry of one installation.
func installation(name store.Name, entry store.Entry) (mint.Installation, error) {
	id, err := strconv.ParseInt(strings.TrimSpace(entry.Value.Reveal()), 10, 64)
	if err != nil || id <= 0 {
		return mint.Installation{}, usererr.New("read "+name.String(), "it is not an installation's ID", "run gatepass app discover --force")
	}
	login, _ := name.Owner()
	return mint.Installation{ID: id, Account: mint.Account{Login: login}}, nil
}

// StoredInstallations returns the installations in the store, with login and id only.
// If the first system left the same account in another case, the entry in lower case
// counts.
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
