package mint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Resolve turns patterns into one grant for each owner, sorted by owner. It asks only
// the owner's own installation for the owner's repositories.
//
// Exact names are passed on as they are, or as their ids if all have one. If an owner
// has a wildcard, or names with and without ids, the names are replaced by ids, which
// Resolve looks up with a token that can only read metadata and is revoked afterwards.
// "*" means all repositories of all installations that are not suspended, and adds
// Notes.
//
// An Installation needs only its id and login. Suspended installations are not used.
// The error joins those of all owners; errors.As finds the first of them.
func (a *App) Resolve(ctx context.Context, patterns []Pattern, permissions Permissions, installed []Installation) ([]Grant, error) {
	return a.ResolveFrom(ctx, nil, patterns, permissions, installed)
}

// ResolveFrom is like Resolve, but lists an installation's repositories only if the
// catalog does not have them yet.
func (a *App) ResolveFrom(ctx context.Context, known *Catalog, patterns []Pattern, permissions Permissions, installed []Installation) ([]Grant, error) {
	if len(patterns) == 0 {
		return nil, errNoPatterns
	}
	if err := permissions.validate(); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(patterns, Pattern.Everything) {
		return grantsForAll(permissions, installed)
	}
	byOwner := map[string][]Pattern{}
	for _, p := range patterns {
		if p.owner == "" {
			return nil, errNoPatterns // the zero Pattern
		}
		byOwner[p.owner] = append(byOwner[p.owner], p)
	}
	r := resolver{a, known, permissions, installed}
	var grants []Grant
	var bad []error
	for _, owner := range slices.Sorted(maps.Keys(byOwner)) {
		g, err := r.owner(ctx, owner, byOwner[owner])
		grants, bad = append(grants, g), append(bad, err)
	}
	if err := usererr.Join(bad...); err != nil {
		return nil, err
	}
	return grants, nil
}

// grantsForAll returns the grants for "*". It need not guess an installation, because all
// of them are meant.
func grantsForAll(permissions Permissions, installed []Installation) ([]Grant, error) {
	var grants []Grant
	var out []string
	for _, i := range installed {
		if i.Suspended() {
			out = append(out, i.Account.Login)
			continue
		}
		grants = append(grants, Grant{
			Owner: i.Account.Login, Installation: i.ID, Repositories: AllRepositories(), Permissions: permissions,
			Notes: []string{"* means every repository that the App can reach on " + i.Account.Login},
		})
	}
	if len(grants) == 0 {
		why := "the App is not installed on any account"
		if len(out) > 0 {
			why = "every installation of the App is suspended: " + strings.Join(out, ", ")
		}
		return nil, &Error{Kind: NotInstalled, Op: "find the repositories of *", Err: errors.New(why)}
	}
	slices.SortFunc(grants, func(g, h Grant) int {
		return strings.Compare(gitname.Fold(g.Owner), gitname.Fold(h.Owner))
	})
	if len(out) > 0 {
		grants[0].Notes = append(grants[0].Notes, "left out because suspended: "+strings.Join(out, ", "))
	}
	return grants, nil
}

// A resolver makes one grant per owner from patterns.
type resolver struct {
	app         *App
	known       *Catalog
	permissions Permissions
	installed   []Installation
}

// owner returns the grant for the patterns of one owner.
func (r resolver) owner(ctx context.Context, owner string, patterns []Pattern) (Grant, error) {
	i, err := installationOf(owner, r.installed)
	if err != nil {
		return Grant{}, err
	}
	g := Grant{Owner: i.Account.Login, Installation: i.ID, Permissions: r.permissions}
	isNamed := !slices.ContainsFunc(patterns, func(p Pattern) bool { return p.star || p.id != 0 })
	isPinned := !slices.ContainsFunc(patterns, func(p Pattern) bool { return p.id == 0 })
	switch {
	case isNamed:
		g.Repositories = RepositoryNames(exactNames(patterns)...)
	case isPinned:
		g.Repositories = PinnedRepositories(pinsOf(patterns)...)
	default:
		var pins []Pin
		pins, err = r.expand(ctx, i, patterns)
		g.Repositories = PinnedRepositories(pins...)
	}
	if err == nil {
		err = g.Validate()
	}
	if err != nil {
		return Grant{}, fmt.Errorf("repositories of %s: %w", i.Account.Login, err)
	}
	return g, nil
}

// exactNames returns the distinct names, as written.
func exactNames(patterns []Pattern) []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range patterns {
		if !p.star && !seen[p.name] {
			seen[p.name] = true
			names = append(names, p.text[strings.IndexByte(p.text, '/')+1:])
		}
	}
	return names
}

// installationOf returns the owner's installation, and never another account's.
func installationOf(owner string, installed []Installation) (Installation, error) {
	doing := "find the installation on " + owner
	for _, i := range installed {
		if gitname.Fold(i.Account.Login) != owner {
			continue
		}
		if i.Suspended() {
			return Installation{}, &Error{Kind: Suspended, Op: doing, Err: errors.New("it has been suspended since " + i.SuspendedAt.UTC().Format(time.DateOnly))}
		}
		return i, nil
	}
	return Installation{}, &Error{Kind: NotInstalled, Op: doing, Err: errors.New("the App is not installed on " + owner)}
}

// expand returns the repositories that the patterns of one owner match.
func (r resolver) expand(ctx context.Context, i Installation, patterns []Pattern) ([]Pin, error) {
	var pins []Pin
	unmatched := slices.Clone(patterns)
	for repo, err := range r.reached(ctx, i.ID) {
		if err != nil {
			return nil, err
		}
		if owner := path.Dir(repo.FullName); !isSame(owner, i.Account.Login) {
			return nil, renamedAccount(i.Account.Login, owner)
		}
		pin, ok, err := pinned(patterns, repo)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		unmatched = slices.DeleteFunc(unmatched, func(p Pattern) bool { return p.Match(i.Account.Login, path.Base(repo.FullName)) })
		if pins = append(pins, pin); len(pins) > MaxRepositories {
			return nil, tooMany(patterns)
		}
	}
	if err := r.missing(ctx, i.ID, unmatched); err != nil {
		return nil, err
	}
	if len(pins) == 0 {
		return nil, fmt.Errorf("no repository that the installation can reach matches %s; grant it to the App, or correct the pattern", list(patterns))
	}
	slices.SortFunc(pins, func(p, q Pin) int { return cmp.Compare(p.ID, q.ID) })
	return slices.Compact(pins), nil
}

func tooMany(patterns []Pattern) error {
	return fmt.Errorf("%s matches more than the %d repositories that one token may name; narrow it, or split the workspace", list(patterns), MaxRepositories)
}

func list(patterns []Pattern) string {
	texts := make([]string, len(patterns))
	for i, p := range patterns {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

// A Catalog caches the repositories of installations, so that a run over many
// workspaces lists each installation once. Use it for one run only: it does not see
// later changes. The zero Catalog is empty and ready for concurrent use.
type Catalog struct {
	mu       sync.Mutex // guards listings
	listings map[int64]*listing
}

// listing is the list of one installation.
type listing struct {
	mu           sync.Mutex // guards the rest; held during the listing, so that one request serves all
	isComplete   bool
	repositories []repository
}

func (c *Catalog) listing(installation int64) *listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listings == nil {
		c.listings = map[int64]*listing{}
	}
	if c.listings[installation] == nil {
		c.listings[installation] = &listing{}
	}
	return c.listings[installation]
}

// reached yields the repositories of an installation: from the catalog or, without one,
// from GitHub page by page.
func (r resolver) reached(ctx context.Context, installation int64) iter.Seq2[repository, error] {
	if r.known == nil {
		return r.read(ctx, installation)
	}
	return func(yield func(repository, error) bool) {
		all, err := r.known.listing(installation).load(r.read(ctx, installation))
		if err != nil {
			yield(repository{}, err)
			return
		}
		for _, repo := range all {
			if !yield(repo, nil) {
				return
			}
		}
	}
}

// load lists the repositories if they are not known yet. It drops an incomplete list.
func (l *listing) load(pages iter.Seq2[repository, error]) ([]repository, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isComplete {
		return l.repositories, nil
	}
	var all []repository
	for r, err := range pages {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	l.repositories, l.isComplete = all, true
	return all, nil
}

// read lists an installation's repositories with a separate token.
func (r resolver) read(ctx context.Context, installation int64) iter.Seq2[repository, error] {
	return func(yield func(repository, error) bool) {
		isOver := false
		err := withReader(ctx, r.app, installation, func(names reader) error {
			for repo, err := range names.repositories(ctx) {
				if err != nil {
					return err
				}
				if isOver = !yield(repo, nil); isOver {
					break
				}
			}
			return nil
		})
		if err != nil && !isOver {
			yield(repository{}, err)
		}
	}
}
