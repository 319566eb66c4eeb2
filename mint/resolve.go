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

// Resolve turns patterns into one grant for each owner, sorted by owner. It
// asks nobody but the owner's own installation for the owner's repositories.
//
// Exact names are passed on as they are, or as their ids where all have one. Where
// an owner has a wildcard, or names with and without ids, its names are replaced by
// ids, which are looked up with a token that can read metadata only and is revoked
// afterwards. "*" means all repositories of all
// the installations that work, and is said in Notes.
//
// Installations may be known by no more than id and login; of those that say
// that they are suspended, none is used. All owners' errors come together, the
// first of them for errors.As.
func (a *App) Resolve(ctx context.Context, patterns []Pattern, permissions Permissions, installed []Installation) ([]Grant, error) {
	return a.ResolveFrom(ctx, nil, patterns, permissions, installed)
}

// ResolveFrom is Resolve, and lists an installation's repositories only where
// the catalog does not know them yet.
func (a *App) ResolveFrom(ctx context.Context, known *Catalog, patterns []Pattern, permissions Permissions, installed []Installation) ([]Grant, error) {
	if len(patterns) == 0 {
		return nil, errNoPatterns
	}
	if err := permissions.validate(); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(patterns, Pattern.Everything) {
		return everything(permissions, installed)
	}
	byOwner := map[string][]Pattern{}
	for _, p := range patterns {
		if p.owner == "" {
			return nil, errNoPatterns // the zero Pattern
		}
		byOwner[p.owner] = append(byOwner[p.owner], p)
	}
	var grants []Grant
	var bad []error
	for _, owner := range slices.Sorted(maps.Keys(byOwner)) {
		g, err := a.resolveOwner(ctx, known, owner, byOwner[owner], permissions, installed)
		grants, bad = append(grants, g), append(bad, err)
	}
	if err := usererr.Join(bad...); err != nil {
		return nil, err
	}
	return grants, nil
}

// everything is "*": it is never a guess which installation is meant, because
// all of them are.
func everything(permissions Permissions, installed []Installation) ([]Grant, error) {
	var grants []Grant
	var out []string
	for _, i := range installed {
		if i.Suspended() {
			out = append(out, i.Account.Login)
			continue
		}
		grants = append(grants, Grant{
			Owner: i.Account.Login, Installation: i.ID, Repositories: AllRepositories(), Permissions: permissions,
			Notes: []string{"* means every repository that the App may reach on " + i.Account.Login},
		})
	}
	if len(grants) == 0 {
		why := "the App is not installed on any account"
		if len(out) > 0 {
			why = "every installation of the App is suspended: " + strings.Join(out, ", ")
		}
		return nil, &Error{Kind: NotInstalled, Doing: "find what * means", Err: errors.New(why)}
	}
	slices.SortFunc(grants, func(g, h Grant) int {
		return strings.Compare(gitname.Fold(g.Owner), gitname.Fold(h.Owner))
	})
	if len(out) > 0 {
		grants[0].Notes = append(grants[0].Notes, "left out, because suspended: "+strings.Join(out, ", "))
	}
	return grants, nil
}

func (a *App) resolveOwner(ctx context.Context, known *Catalog, owner string, patterns []Pattern, permissions Permissions, installed []Installation) (Grant, error) {
	i, err := installationOf(owner, installed)
	if err != nil {
		return Grant{}, err
	}
	g := Grant{Owner: i.Account.Login, Installation: i.ID, Permissions: permissions}
	isNamed := !slices.ContainsFunc(patterns, func(p Pattern) bool { return p.star || p.id != 0 })
	isPinned := !slices.ContainsFunc(patterns, func(p Pattern) bool { return p.id == 0 })
	switch {
	case isNamed:
		g.Repositories = RepositoryNames(exactNames(patterns)...)
	case isPinned:
		g.Repositories = PinnedRepositories(pinsOf(patterns)...)
	default:
		var pins []Pin
		pins, err = a.expand(ctx, known, i, patterns)
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

// exactNames are the names as written, each once.
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

// installationOf never answers with another account's.
func installationOf(owner string, installed []Installation) (Installation, error) {
	doing := "find the installation on " + owner
	for _, i := range installed {
		if gitname.Fold(i.Account.Login) != owner {
			continue
		}
		if i.Suspended() {
			return Installation{}, &Error{Kind: Suspended, Doing: doing, Err: errors.New("it has been suspended since " + i.SuspendedAt.UTC().Format(time.DateOnly))}
		}
		return i, nil
	}
	return Installation{}, &Error{Kind: NotInstalled, Doing: doing, Err: errors.New("the App is not installed on " + owner)}
}

// expand returns what the patterns of one owner match.
func (a *App) expand(ctx context.Context, known *Catalog, i Installation, patterns []Pattern) ([]Pin, error) {
	var pins []Pin
	unmatched := slices.Clone(patterns)
	for repo, err := range a.reached(ctx, known, i.ID) {
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
	if err := a.missing(ctx, i.ID, unmatched); err != nil {
		return nil, err
	}
	if len(pins) == 0 {
		return nil, fmt.Errorf("nothing that the installation reaches matches %s; grant it to the App, or correct the pattern", list(patterns))
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

// A Catalog remembers what installations reach, so that a pass over many
// workspaces lists each installation once. It is for the time of one pass: what
// is granted and created later is not in it. The zero Catalog is empty, and may
// be used concurrently.
type Catalog struct {
	mu       sync.Mutex // guards listings
	listings map[int64]*listing
}

// listing is one installation's.
type listing struct {
	mu           sync.Mutex // guards the rest; held while listing, so that one lists for all
	isComplete   bool
	repositories []repository
}

func (c *Catalog) of(installation int64) *listing {
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

// reached yields the repositories of an installation: from the catalog, or from
// GitHub page after page where there is none.
func (a *App) reached(ctx context.Context, known *Catalog, installation int64) iter.Seq2[repository, error] {
	if known == nil {
		return a.read(ctx, installation)
	}
	return func(yield func(repository, error) bool) {
		all, err := known.of(installation).fill(a.read(ctx, installation))
		if err != nil {
			yield(repository{}, err)
			return
		}
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// fill lists what is not known yet. A listing that broke off is forgotten.
func (l *listing) fill(pages iter.Seq2[repository, error]) ([]repository, error) {
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

// read lists an installation's repositories with a token of its own.
func (a *App) read(ctx context.Context, installation int64) iter.Seq2[repository, error] {
	return func(yield func(repository, error) bool) {
		isOver := false
		err := a.withReader(ctx, installation, func(r reader) error {
			for repo, err := range r.repositories(ctx) {
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
