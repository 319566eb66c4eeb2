package fakegithub

import (
	"fmt"
	"maps"
)

// Permissions maps GitHub's permission names to "read", "write" or "admin".
type Permissions map[string]string

var levels = map[string]int{"read": 1, "write": 2, "admin": 3}

// Allows reports whether p has the permission at the level or above.
func (p Permissions) Allows(name, level string) bool {
	return levels[level] > 0 && levels[p[name]] >= levels[level]
}

// covers reports whether p allows everything want does.
func (p Permissions) covers(want Permissions) bool {
	for name, level := range want {
		if !p.Allows(name, level) {
			return false
		}
	}
	return true
}

// withMetadata adds what GitHub adds to every non-empty set: an App that may
// do anything with a repository may also read its metadata.
func (p Permissions) withMetadata() Permissions {
	out := maps.Clone(p)
	if len(out) > 0 && out["metadata"] == "" {
		out["metadata"] = "read"
	}
	return out
}

func (p Permissions) validate() error {
	for name, level := range p {
		if levels[level] == 0 || name == "" {
			return fmt.Errorf("permission %q: level %q is not read, write or admin", name, level)
		}
	}
	return nil
}
