// Package mint makes GitHub App installation access tokens that open exactly
// what a policy says, with a key it never sees.
//
// GitHub reads an absent list of repositories or permissions as everything the
// installation has. Here the zero value of both means "not decided" and cannot
// be minted; everything has to be said out loud. What GitHub grants is compared
// with what was asked: a wider token is revoked and refused.
package mint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxRepositories is how many repositories one token may name
// (https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app).
const MaxRepositories = 500

// Repositories says which repositories a token may reach. The zero value is
// "not decided" and cannot be minted.
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

// RepositoryIDs means these repositories, whatever they are called.
func RepositoryIDs(ids ...int64) Repositories {
	var pins []Pin
	for _, id := range ids {
		pins = append(pins, Pin{ID: id})
	}
	return Repositories{pins: pins}
}

// PinnedRepositories means these repositories, while they are called that. A
// token for one with another name by now is revoked, and [App.Mint] says so with
// an [*Error] of kind [Renamed].
func PinnedRepositories(pins ...Pin) Repositories { return Repositories{pins: slices.Clone(pins)} }

// IDs are those that GitHub is asked for; nil where it is asked by name.
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
		return errors.New("repositories are given in more than one way")
	case r.all:
		return nil
	case n == 0:
		return errors.New("no repositories are decided, which GitHub would read as all of them")
	case n > MaxRepositories:
		return fmt.Errorf("%d repositories are more than the %d that one token may name", n, MaxRepositories)
	}
	return errors.Join(checkNames(r.names), checkPins(r.pins))
}

func checkNames(names []string) error {
	seen := map[string]bool{}
	for _, name := range names {
		if name == "" || len(name) > 100 || strings.ContainsFunc(name, notInName) || strings.Trim(name, ".") == "" {
			return fmt.Errorf("%q is no repository name; it is given without its owner", name)
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
			return fmt.Errorf("%d is no repository id", p.ID)
		}
		if seen[p.ID] {
			return fmt.Errorf("repository id %d is given twice", p.ID)
		}
		seen[p.ID] = true
		if p.Name != "" {
			names = append(names, p.Name)
		}
	}
	return checkNames(names)
}

// A Grant is everything one token may do: a token belongs to one installation and so
// to one owner. Policy decides it, Validate checks it, and it is sent to GitHub
// unchanged. The zero Grant is refused.
type Grant struct {
	Installation int64
	Repositories Repositories
	Permissions  Permissions
	// Owner is the login, as its installation spells it. Where it is set, the errors of
	// [App.Mint] name it and say what was not granted.
	Owner string
	// Notes are what a person should know: that a pattern means everything, or
	// that an installation was left out.
	Notes []string
}

// Validate reports every reason g must not be minted, joined.
func (g Grant) Validate() error {
	var installation error
	if g.Installation <= 0 {
		installation = errors.New("no installation is decided")
	}
	return errors.Join(installation, g.Repositories.validate(), g.Permissions.validate())
}
