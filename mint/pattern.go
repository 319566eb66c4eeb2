package mint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// A Pattern names repositories: "owner/repo", "owner/repo#ID" for the one with that id
// only, "owner/*", "owner/prefix-*", or "*" for all. The zero Pattern names none and is
// refused.
type Pattern struct {
	owner string // lower case; empty for "*"
	name  string // lower case; for a wildcard, the part before the star
	star  bool
	id    int64  // the id that the repository must have; 0 means any
	text  string // as written, without the id
}

// ParsePattern parses a pattern. Names are compared as GitHub does, ignoring ASCII
// case.
func ParsePattern(text string) (Pattern, error) {
	names, after, isPinned := strings.Cut(text, "#")
	p, err := parseNames(names)
	if err != nil || !isPinned {
		return p, err
	}
	p.id, err = strconv.ParseInt(after, 10, 64)
	if err != nil || p.id <= 0 || p.star || strconv.FormatInt(p.id, 10) != after {
		return Pattern{}, fmt.Errorf("repository pattern %q: the part after # must be the repository's ID, a number; see https://docs.github.com/rest/repos/repos#get-a-repository", text)
	}
	return p, nil
}

func parseNames(text string) (Pattern, error) {
	if text == "*" {
		return Pattern{star: true, text: text}, nil
	}
	path, star := strings.CutSuffix(text, "*")
	owner, name, found := strings.Cut(path, "/")
	asked := name
	if star {
		asked += "x" // replaces what the star leaves open, so that a prefix may be ".."
	}
	// Package gitname knows which names GitHub allows; a suffix that it removes from a
	// path (".git") is a mistake here.
	gotOwner, gotName, ok := gitname.Path(owner + "/" + asked)
	if !found || !ok || gotOwner != gitname.Fold(owner) || gotName != gitname.Fold(asked) {
		return Pattern{}, fmt.Errorf("repository pattern %q: want owner/repo, owner/repo#ID, owner/*, owner/prefix-* or *", text)
	}
	return Pattern{owner: gotOwner, name: gitname.Fold(name), star: star, text: text}, nil
}

// String returns the pattern as written.
func (p Pattern) String() string {
	if p.id == 0 {
		return p.text
	}
	return p.text + "#" + strconv.FormatInt(p.id, 10)
}

// MarshalText writes what String returns.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses text like ParsePattern.
func (p *Pattern) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePattern(string(text))
	return err
}

// Names returns the pattern without an id, for use where repositories are known only by
// name.
func (p Pattern) Names() string { return p.text }

// ID returns the id that the repository must have; 0 means any.
func (p Pattern) ID() int64 { return p.id }

// Owner returns the account in lower case; "" for "*".
func (p Pattern) Owner() string { return p.owner }

// Everything reports whether p is "*".
func (p Pattern) Everything() bool { return p.star && p.owner == "" }

// Equal reports whether p and q name the same repositories, ignoring case and id.
func (p Pattern) Equal(q Pattern) bool {
	return p.owner == q.owner && p.name == q.name && p.star == q.star
}

// Match reports whether p names owner/name.
func (p Pattern) Match(owner, name string) bool {
	if p.text == "" {
		return false
	}
	if p.Everything() {
		return true
	}
	name = gitname.Fold(name)
	return p.owner == gitname.Fold(owner) && (p.name == name || p.star && strings.HasPrefix(name, p.name))
}

var errNoPatterns = errors.New("no repositories are named, so no token can be minted")

// A Pin is a repository by its id. GitHub never reuses an id, but it may reuse a name
// after a repository was renamed or deleted.
type Pin struct {
	ID   int64
	Name string // the name that it must have, without its owner; "" means any name
}

// String formats the pin for people.
func (p Pin) String() string { return fmt.Sprintf("%s#%d", p.Name, p.ID) }

// named returns the repositories that must have a certain name; the id is 0 for those
// that GitHub is asked for by name.
func (r Repositories) named() []Pin {
	var named []Pin
	for _, name := range r.names {
		named = append(named, Pin{Name: name})
	}
	for _, p := range r.pins {
		if p.Name != "" {
			named = append(named, p)
		}
	}
	return named
}

// pinsOf converts exact patterns that all have an id.
func pinsOf(patterns []Pattern) []Pin {
	var pins []Pin
	for _, p := range patterns {
		pins = append(pins, Pin{p.id, p.name})
	}
	return pins
}

// Allowed reports whether patterns allow owner/name, and returns the id that the
// repository must have, 0 for any. A pattern with an id applies even if another pattern
// allows the name.
func Allowed(patterns []Pattern, owner, name string) (id int64, ok bool) {
	for _, p := range patterns {
		if !p.Match(owner, name) {
			continue
		}
		if ok = true; p.id != 0 {
			return p.id, true
		}
	}
	return 0, ok
}

// pinned reports whether patterns of one owner allow an existing repository. It returns
// an error if the pinned repository has another name, or another repository has its
// name, even if another pattern allows it.
func pinned(patterns []Pattern, repo repository) (pin Pin, ok bool, err error) {
	owner, name, _ := strings.Cut(repo.FullName, "/")
	for _, p := range patterns {
		matches := p.Match(owner, name)
		switch {
		case p.id == 0:
			ok = ok || matches
		case matches && p.id == repo.ID:
			pin.Name, ok = p.name, true
		case matches:
			return Pin{}, false, replaced(p.text, p.id, repo.ID)
		case p.id == repo.ID:
			return Pin{}, false, renamed("find "+p.String(), repo.FullName)
		}
	}
	pin.ID = repo.ID
	return pin, ok, nil
}

func renamed(doing, now string) error {
	return &Error{Kind: Renamed, Op: doing, Now: now, Err: fmt.Errorf("its name is %s now", now)}
}

func replaced(fullName string, meant, now int64) error {
	return &Error{Kind: Replaced, Op: fmt.Sprintf("find %s#%d", fullName, meant), Err: fmt.Errorf("the repository of that name has another ID, %d", now)}
}
