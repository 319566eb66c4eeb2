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

// Permissions says what a token may do, as GitHub's permission names and
// levels. The zero value is "not decided" and cannot be minted.
type Permissions struct {
	all    bool
	levels map[string]string
}

// AllPermissions means everything the installation was granted.
func AllPermissions() Permissions { return Permissions{all: true} }

// PermissionLevels means these permissions: "contents" to "read" and the like.
// The set of names is open, since GitHub's grows; levels are read, write, admin.
func PermissionLevels(levels map[string]string) Permissions {
	return Permissions{levels: maps.Clone(levels)}
}

// Validate returns every reason why p cannot be minted, joined.
func (p Permissions) Validate() error { return p.validate() }

// rank orders GitHub's levels; an unknown one has none.
var rank = map[string]int{"read": 1, "write": 2, "admin": 3}

func (p Permissions) validate() error {
	switch {
	case p.all && len(p.levels) > 0:
		return errors.New("permissions are given in more than one way")
	case p.all:
		return nil
	case len(p.levels) == 0:
		return errors.New("no permissions are decided, which GitHub would read as all of them")
	}
	var bad []error
	for _, name := range slices.Sorted(maps.Keys(p.levels)) {
		bad = append(bad, checkPermission(name, p.levels[name]))
	}
	return errors.Join(bad...)
}

func checkPermission(name, level string) error {
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return !('a' <= r && r <= 'z' || r == '_') }) {
		return fmt.Errorf("%q is no permission name", name)
	}
	if rank[level] == 0 {
		return fmt.Errorf("permission %s has the level %q; known are read, write and admin", name, level)
	}
	return nil
}

// verbs are what a profile may say instead of permission names.
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

// Verbs returns the permissions that the verbs of a profile need: clone, fetch,
// push, comment, review, checks, workflow, actions. Of two levels of one
// permission the higher holds. An unknown verb, and no verb at all, is an error.
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
		bad = append(bad, errors.New("no permission verbs"))
	}
	if err := errors.Join(bad...); err != nil {
		return Permissions{}, err
	}
	return Permissions{levels: levels}, nil
}

// Lacking returns those of the needed permissions that are not granted, or at a
// lower level. An unknown level grants nothing.
func Lacking(needed, granted map[string]string) map[string]string {
	lacking := map[string]string{}
	for name, level := range needed {
		if rank[granted[name]] < max(rank[level], 1) {
			lacking[name] = level
		}
	}
	return lacking
}

// With returns p and what more names; of two levels of one permission the higher
// holds. The zero more adds nothing.
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

// Without returns p but for the permissions named. It is never "all".
func (p Permissions) Without(names map[string]string) Permissions {
	levels := maps.Clone(p.levels)
	maps.DeleteFunc(levels, func(name, _ string) bool { return names[name] != "" })
	return Permissions{levels: levels}
}

// Wider lists, in words, what granted has beyond p. Reading metadata does not
// count: GitHub adds it to everything.
func (p Permissions) Wider(granted map[string]string) []string {
	var d difference
	d.permissions(p, granted)
	return d.wider
}

// IsZero reports whether no permissions are decided.
func (p Permissions) IsZero() bool { return !p.all && len(p.levels) == 0 }

// MarshalJSON writes names and levels; null for the zero value. AllPermissions have
// none, and are an error.
func (p Permissions) MarshalJSON() ([]byte, error) {
	if p.all {
		return nil, errors.New("all permissions have no names to write")
	}
	return json.Marshal(p.levels)
}

// UnmarshalJSON reads what MarshalJSON wrote. It does not validate.
func (p *Permissions) UnmarshalJSON(data []byte) error {
	*p = Permissions{}
	return json.Unmarshal(data, &p.levels)
}

// Levels returns the permission names and levels; nil for AllPermissions.
func (p Permissions) Levels() map[string]string { return maps.Clone(p.levels) }

// LevelsText is permissions for people, sorted: "checks: write, contents: read".
func LevelsText(levels map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		texts = append(texts, name+": "+levels[name])
	}
	return strings.Join(texts, ", ")
}
