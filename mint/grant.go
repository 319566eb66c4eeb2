// Package mint makes GitHub App installation access tokens that open exactly what a
// policy allows, with a key that it never sees.
//
// GitHub reads a missing list of repositories or permissions as everything that the
// installation has. Here the zero value of both means "not decided" and cannot be
// minted; the caller must state even "everything". Mint compares what GitHub grants
// with the request: it revokes and refuses a wider token.
package mint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/suggest"
)

// MaxRepositories is how many repositories one token may name
// (https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app).
const MaxRepositories = 500

// Repositories says which repositories a token may access. The zero value is "not
// decided" and cannot be minted.
type Repositories struct {
	all   bool
	names []string
	pins  []Pin
}

// AllRepositories means every repository of the installation.
func AllRepositories() Repositories { return Repositories{all: true} }

// RepositoryNames means these repositories, named without their owner.
func RepositoryNames(names ...string) Repositories {
	return Repositories{names: slices.Clone(names)}
}

// RepositoryIDs means the repositories with these ids, whatever their names.
func RepositoryIDs(ids ...int64) Repositories {
	var pins []Pin
	for _, id := range ids {
		pins = append(pins, Pin{ID: id})
	}
	return Repositories{pins: pins}
}

// PinnedRepositories means these repositories, as long as they have these names. If one
// has another name now, its token is revoked and [App.Mint] returns an [*Error] of kind
// [Renamed].
func PinnedRepositories(pins ...Pin) Repositories { return Repositories{pins: slices.Clone(pins)} }

// IDs returns the ids in the request to GitHub; nil if the request has names.
func (r Repositories) IDs() []int64 {
	var ids []int64
	for _, p := range r.pins {
		ids = append(ids, p.ID)
	}
	return ids
}

func (r Repositories) validate() error {
	switch n := len(r.names) + len(r.pins); {
	case r.all && n > 0 || len(r.names) > 0 && len(r.pins) > 0:
		return errors.New("repositories must be given in one way only")
	case r.all:
		return nil
	case n == 0:
		return errors.New("the repositories are not decided, and GitHub would read that as all of them")
	case n > MaxRepositories:
		return fmt.Errorf("%d repositories are more than the %d that one token may name", n, MaxRepositories)
	}
	return errors.Join(checkNames(r.names), checkPins(r.pins))
}

func checkNames(names []string) error {
	seen := map[string]bool{}
	for _, name := range names {
		if name == "" || len(name) > 100 || strings.ContainsFunc(name, notInName) || strings.Trim(name, ".") == "" {
			return fmt.Errorf("%q is not a repository name; write it without its owner", name)
		}
		lower := strings.ToLower(name)
		if seen[lower] {
			return fmt.Errorf("repository %q is given twice", name)
		}
		seen[lower] = true
	}
	return nil
}

func notInName(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
}

func checkPins(pins []Pin) error {
	seen := map[int64]bool{}
	var names []string
	for _, p := range pins {
		if p.ID <= 0 {
			return fmt.Errorf("%d is not a repository ID", p.ID)
		}
		if seen[p.ID] {
			return fmt.Errorf("repository ID %d is given twice", p.ID)
		}
		seen[p.ID] = true
		if p.Name != "" {
			names = append(names, p.Name)
		}
	}
	return checkNames(names)
}

// A Grant is everything that one token may do. A token belongs to one installation and
// so to one owner. The policy decides the Grant, Validate checks it, and it is sent to
// GitHub unchanged. The zero Grant is refused.
type Grant struct {
	Installation int64
	Repositories Repositories
	Permissions  Permissions
	// Owner is the login, spelled as in its installation. If it is set, the errors of
	// [App.Mint] name it and say what was not granted.
	Owner string
	// Notes are remarks for a person: that a pattern means everything, or that an
	// installation was left out.
	Notes []string
}

// Validate returns an error that joins every reason why g must not be minted.
func (g Grant) Validate() error {
	var installation error
	if g.Installation <= 0 {
		installation = errors.New("the installation is not decided")
	}
	return errors.Join(installation, g.Repositories.validate(), g.Permissions.validate())
}

// Permissions says what a token may do, in GitHub's permission names and levels. The
// zero value is "not decided" and cannot be minted.
type Permissions struct {
	all    bool
	levels map[string]string
}

// AllPermissions means all permissions of the installation.
func AllPermissions() Permissions { return Permissions{all: true} }

// PermissionLevels means these permissions, such as "contents" to "read". The set of
// names is open, since GitHub adds to its own; levels are read, write, admin.
func PermissionLevels(levels map[string]string) Permissions {
	return Permissions{levels: maps.Clone(levels)}
}

// Validate returns an error that joins every reason why p cannot be minted.
func (p Permissions) Validate() error { return p.validate() }

// rank orders GitHub's levels; an unknown level has rank 0.
var rank = map[string]int{"read": 1, "write": 2, "admin": 3}

func (p Permissions) validate() error {
	switch {
	case p.all && len(p.levels) > 0:
		return errors.New("permissions must be given in one way only")
	case p.all:
		return nil
	case len(p.levels) == 0:
		return errors.New("the permissions are not decided, and GitHub would read that as all of them")
	}
	var bad []error
	for _, name := range slices.Sorted(maps.Keys(p.levels)) {
		bad = append(bad, checkPermission(name, p.levels[name]))
	}
	return errors.Join(bad...)
}

func checkPermission(name, level string) error {
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return !('a' <= r && r <= 'z' || r == '_') }) {
		return fmt.Errorf("%q is not a permission name", name)
	}
	if rank[level] == 0 {
		return fmt.Errorf("permission %s has the level %q; known are read, write and admin", name, level)
	}
	return nil
}

// verbs are the words that a profile may use instead of permission names.
var verbs = map[string][2]string{
	"clone":    {"contents", "read"},
	"fetch":    {"contents", "read"},
	"push":     {"contents", "write"},
	"comment":  {"issues", "write"},
	"review":   {"pull_requests", "write"},
	"checks":   {"checks", "write"},
	"workflow": {"workflows", "write"},
	"actions":  {"actions", "write"},
}

// Verbs returns the permissions that the verbs of a profile need: clone, fetch, push,
// comment, review, checks, workflow, actions. Of two levels of one permission it takes
// the higher. An unknown verb, or no verb at all, is an error.
func Verbs(names ...string) (Permissions, error) {
	levels := map[string]string{}
	var bad []error
	for _, name := range names {
		needs, known := verbs[name]
		if !known {
			bad = append(bad, errors.New(suggest.Unknown("permission verb", name, "", slices.Collect(maps.Keys(verbs)))))
			continue
		}
		if rank[needs[1]] > rank[levels[needs[0]]] {
			levels[needs[0]] = needs[1]
		}
	}
	if len(names) == 0 {
		bad = append(bad, errors.New("the list of permission verbs must not be empty"))
	}
	if err := errors.Join(bad...); err != nil {
		return Permissions{}, err
	}
	return Permissions{levels: levels}, nil
}

// Lacking returns the needed permissions that are not granted, or only at a lower
// level. An unknown level grants nothing.
func Lacking(needed, granted map[string]string) map[string]string {
	lacking := map[string]string{}
	for name, level := range needed {
		if rank[granted[name]] < max(rank[level], 1) {
			lacking[name] = level
		}
	}
	return lacking
}

// With returns the permissions of p and more; of two levels of one permission it takes
// the higher. A zero more adds nothing.
func (p Permissions) With(more Permissions) Permissions {
	if p.all || len(more.levels) == 0 && !more.all {
		return p
	}
	if more.all {
		return more
	}
	levels := maps.Clone(more.levels)
	for name, level := range p.levels {
		if rank[level] >= rank[levels[name]] {
			levels[name] = level
		}
	}
	return Permissions{levels: levels}
}

// Without returns p without the named permissions. The result is never "all".
func (p Permissions) Without(names map[string]string) Permissions {
	levels := maps.Clone(p.levels)
	maps.DeleteFunc(levels, func(name, _ string) bool { return names[name] != "" })
	return Permissions{levels: levels}
}

// Wider describes what granted has beyond p. Read access to metadata does not count:
// GitHub adds it to every token.
func (p Permissions) Wider(granted map[string]string) []string {
	var d difference
	d.permissions(p, granted)
	return d.wider
}

// IsZero reports whether no permissions are decided.
func (p Permissions) IsZero() bool { return !p.all && len(p.levels) == 0 }

// MarshalJSON writes names and levels; null for the zero value. For AllPermissions,
// which have none, it returns an error.
func (p Permissions) MarshalJSON() ([]byte, error) {
	if p.all {
		return nil, errors.New("all permissions cannot be written as names")
	}
	return json.Marshal(p.levels)
}

// UnmarshalJSON reads the output of MarshalJSON. It does not validate it.
func (p *Permissions) UnmarshalJSON(data []byte) error {
	*p = Permissions{}
	return json.Unmarshal(data, &p.levels)
}

// Levels returns the permission names and levels; nil for AllPermissions.
func (p Permissions) Levels() map[string]string { return maps.Clone(p.levels) }

// LevelsText formats permissions for people, sorted: "checks: write, contents: read".
func LevelsText(levels map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		texts = append(texts, name+": "+levels[name])
	}
	return strings.Join(texts, ", ")
}
