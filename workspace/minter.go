package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// A minter is one App that mints for workspaces, and what is known of its installations.
type minter struct {
	PoolApp
	clock   ledgerClock
	catalog *mint.Catalog
	learned *learned // what the runs of a pass share; nil for a single run
}

// A tokenRequest is one owner's token that a run needs.
type tokenRequest struct {
	record   *Record
	owner    string // in lower case
	known    installations
	isForced bool // all tokens of the workspace are replaced

	// mint makes the token by an App and delivers it. moved is why the workspace leaves
	// the App that it had; "" where it stays.
	mint func(ctx context.Context, m minter, g mint.Grant, moved string) error
}

// errUnresolved marks the errors of one owner's repositories.
var errUnresolved = errors.New("no grant")

// unresolved is an error before GitHub was asked for a token.
type unresolved struct{ error }

func (u unresolved) Unwrap() []error { return []error{u.error, errUnresolved} }

// fulfil has the token made. An installation that GitHub does not know any more is looked
// up anew: the App may have been installed again.
func (m minter) fulfil(ctx context.Context, q tokenRequest, installed []mint.Installation, moved string) (err error) {
	if m.Unready != nil {
		return unresolved{m.Unready}
	}
	if err := m.learned.closed(q.owner, m.clock.now()); err != nil {
		return unresolved{err}
	}
	err = m.resolve(ctx, q, installed, moved)
	defer func() { m.learned.outcome(q.owner, err, m.clock.now()) }()
	if failure, ok := errors.AsType[*mint.Error](err); !ok || failure.Kind != mint.NotInstalled {
		return err
	}
	now, lookErr := m.find(ctx, q.owner)
	if lookErr != nil || slices.ContainsFunc(installed, func(in mint.Installation) bool { return in.ID == now.ID }) {
		return err
	}
	err = m.resolve(ctx, q, []mint.Installation{now}, moved)
	return err
}

// resolve turns the record's patterns into what GitHub is asked for, and has it minted.
func (m minter) resolve(ctx context.Context, q tokenRequest, installed []mint.Installation, moved string) error {
	patterns := q.record.Repositories
	if !slices.ContainsFunc(patterns, mint.Pattern.Everything) {
		patterns = slices.DeleteFunc(slices.Clone(patterns), func(p mint.Pattern) bool { return p.Owner() != q.owner })
	}
	grants, err := m.App.ResolveFrom(ctx, m.catalog, patterns, q.record.Most(), installed)
	if err != nil {
		return unresolved{err}
	}
	at := slices.IndexFunc(grants, func(g mint.Grant) bool { return strings.EqualFold(g.Owner, q.owner) })
	if at < 0 {
		return unresolved{errors.New("repositories of " + q.owner + ": nothing was resolved for them")}
	}
	return q.mint(ctx, m, grants[at], moved)
}

// stored returns the installations that the store knows. The runs of a pass read them once.
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

// storedFor returns the installations that the store knows, at least those that the
// record needs. A pass has them listed once for all its runs. A single run reads them by
// name: a list costs some stores a look at everything.
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
		if errors.Is(err, store.ErrNotFound) { // the first system may have left it in another case
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

// complete asks GitHub about owners that the store does not know: the App may
// have been installed there since the last gatepass app discover. It is never
// another account's installation that answers.
func (m minter) complete(ctx context.Context, r *Record, installed []mint.Installation) (installations, error) {
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

// find returns the installation on an account as GitHub knows it. The runs of a pass ask
// for it once.
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
	if found, ok := l.asked[owner]; ok {
		return found, nil
	}
	found, err := m.App.InstallationOf(ctx, owner)
	if err != nil {
		l.remember(owner, err, m.clock.now())
		return found, err
	}
	if l.asked == nil {
		l.asked = map[string]mint.Installation{}
	}
	l.asked[owner] = found
	return found, nil
}

// renamed says what an owner is called by now, where GitHub does not know the name any
// more.
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

// maxOutages is how many requests in a row GitHub may leave unanswered before a
// pass takes it for down.
const maxOutages = 5

// learned is what the runs of one pass learn from each other about an App: which
// installations it has, and what is not worth asking GitHub again. Without it, an App
// that was uninstalled would cost a request for every workspace, and a GitHub that is
// down a minute. A nil learned knows nothing.
type learned struct {
	mu       sync.Mutex // guards the rest; held while the store or GitHub is asked about installations
	isLoaded bool
	known    []mint.Installation          // in the store
	changed  time.Time                    // when the latest of them was written
	asked    map[string]mint.Installation // owners, in lower case, found by asking GitHub
	failed   map[string]error             // owners that are not worth asking about again
	failing  error                        // why GitHub mints no token of this App
	until    time.Time                    // failing holds until then; zero for the whole pass
	outages  int                          // requests in a row without an answer
}

// has reports whether the store knows the installation, as far as it was read.
func (l *learned) has(installation int64) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.known, func(in mint.Installation) bool { return in.ID == installation })
}

// latest is when the latest of the store's installations was written.
func (l *learned) latest() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// closed returns why GitHub is not asked for an owner's token.
func (l *learned) closed(owner string, now time.Time) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing != nil && (l.until.IsZero() || l.until.After(now)) {
		return l.failing
	}
	return l.failed[strings.ToLower(owner)]
}

// outcome takes note of what GitHub said about an owner's token.
func (l *learned) outcome(owner string, err error, now time.Time) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.outages = 0
		return
	}
	l.remember(strings.ToLower(owner), err, now)
}

// remember keeps an error that other runs would get as well.
func (l *learned) remember(owner string, err error, now time.Time) {
	failure, ok := errors.AsType[*mint.Error](err)
	if !ok {
		return
	}
	switch failure.Kind {
	case mint.BadKey, mint.Unsigned:
		l.failing, l.until = err, time.Time{}
	case mint.RateLimited:
		l.failing = &usererr.Error{Op: "refresh", Reason: "left to the next pass: " + failure.Message, Err: ErrDeferred}
		l.until = now.Add(max(failure.RetryAfter, time.Minute))
	case mint.Unavailable:
		if l.outages++; l.outages >= maxOutages {
			l.failing, l.until = fmt.Errorf("%w, %d times in a row", err, l.outages), time.Time{}
		}
	case mint.Suspended, mint.NotInstalled:
		if l.failed == nil {
			l.failed = map[string]error{}
		}
		l.failed[owner] = err
	}
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
