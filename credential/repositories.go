package credential

import (
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Repositories says for which repositories a workspace may request a token. The zero
// value allows none; use [AnyRepository] to allow all.
type Repositories struct {
	any      bool
	patterns []repositoryPattern
}

// repositoryPattern is "owner/name", "owner/*" or "owner/prefix-*", lower-case.
type repositoryPattern struct {
	owner, name string
	prefix      bool   // name is a prefix
	written     string // as written
}

// AnyRepository allows every repository of the configured hosts.
func AnyRepository() Repositories { return Repositories{any: true} }

// ParseRepositories parses patterns: "owner/repo", "owner/*", "owner/prefix-*", or "*"
// for any repository. Its error reports every bad pattern. An empty list allows
// nothing. Names are compared as GitHub does, ignoring ASCII case.
func ParseRepositories(patterns []string) (Repositories, error) {
	var r Repositories
	var bad []error
	for _, p := range patterns {
		if p == "*" {
			r.any = true
			continue
		}
		pattern, err := parseRepository(p)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		r.patterns = append(r.patterns, pattern)
	}
	if len(bad) > 0 {
		return Repositories{}, usererr.Join(bad...)
	}
	return r, nil
}

func parseRepository(p string) (repositoryPattern, error) {
	path, prefix := strings.CutSuffix(p, "*")
	if prefix && strings.HasSuffix(path, "/") {
		path += "x" // replaces the name that the star leaves open
	}
	owner, name, ok := gitname.Path(path)
	if !ok || strings.Count(path, "/") != 1 || strings.ContainsAny(path, "?#") {
		return repositoryPattern{}, fmt.Errorf("repository pattern %q: want owner/repo, owner/*, owner/prefix-* or *", p)
	}
	if prefix {
		name = gitname.Fold(path[len(owner)+1:])
		if strings.HasSuffix(p, "/*") {
			name = ""
		}
	}
	return repositoryPattern{owner: owner, name: name, prefix: prefix, written: p}, nil
}

// Match reports whether owner/name is allowed.
func (r Repositories) Match(owner, name string) bool {
	owner, name = gitname.Fold(owner), gitname.Fold(name)
	for _, p := range r.patterns {
		if p.owner == owner && (p.name == name || p.prefix && strings.HasPrefix(name, p.name)) {
			return true
		}
	}
	return r.any
}

// Fixed lists what is surely allowed, as written: "owner/name" for a repository, and
// "owner" if all repositories of an owner are. It is empty if any repository is
// allowed.
func (r Repositories) Fixed() []string {
	if r.any {
		return nil
	}
	var fixed []string
	for _, p := range r.patterns {
		switch {
		case !p.prefix:
			fixed = append(fixed, p.written)
		case p.name == "":
			fixed = append(fixed, strings.TrimSuffix(p.written, "/*"))
		}
	}
	return fixed
}

// Any reports whether every repository is allowed.
func (r Repositories) Any() bool { return r.any }

// Patterns returns the patterns in lower case, as they are compared.
func (r Repositories) Patterns() []string {
	texts := make([]string, len(r.patterns))
	for i, p := range r.patterns {
		texts[i] = p.owner + "/" + p.name
		if p.prefix {
			texts[i] += "*"
		}
	}
	return texts
}

// String lists the patterns for a person: "acme/widgets, acme/api-*", "any
// repository" or "none".
func (r Repositories) String() string {
	if r.any {
		return "any repository"
	}
	if len(r.patterns) == 0 {
		return "none"
	}
	return strings.Join(r.Patterns(), ", ")
}
