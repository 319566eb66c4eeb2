package mint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// A Pattern names repositories: "owner/repo", "owner/repo#ID" for the one with that
// id alone, "owner/*", "owner/prefix-*", or "*" for all there are. The zero Pattern
// names none and is refused.
type Pattern struct {
	owner string // lower case; empty for "*"
	name  string // lower case; of a wildcard, what comes before the star
	star  bool
	id    int64  // the only repository that may have the name; 0 is any
	text  string // as written, without the id
}

// ParsePattern reads a pattern. Names are compared as GitHub does, without
// regard to ASCII case.
func ParsePattern(text string) (Pattern, error) {
	names, after, isPinned := strings.Cut(text, "#")
	p, err := parseNames(names)
	if err != nil || !isPinned {
		return p, err
	}
	p.id, err = strconv.ParseInt(after, 10, 64)
	if err != nil || p.id <= 0 || p.star || strconv.FormatInt(p.id, 10) != after {
		return Pattern{}, fmt.Errorf("repository pattern %q: behind the # is the id of the one repository, a number; see https://docs.github.com/rest/repos/repos#get-a-repository", text)
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
		asked += "x" // stands for what the star leaves open, so that a prefix may be ".."
	}
	// The protocol knows which names GitHub has; what it takes off the end of a
	// path (".git") is a mistake here.
	gotOwner, gotName, ok := gitname.Path(owner + "/" + asked)
	if !found || !ok || gotOwner != gitname.Fold(owner) || gotName != gitname.Fold(asked) {
		return Pattern{}, fmt.Errorf("repository pattern %q: want owner/repo, owner/repo#ID, owner/*, owner/prefix-* or *", text)
	}
	return Pattern{owner: gotOwner, name: gitname.Fold(name), star: star, text: text}, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string {
	if p.id == 0 {
		return p.text
	}
	return p.text + "#" + strconv.FormatInt(p.id, 10)
}

// MarshalText writes what String returns.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParsePattern.
func (p *Pattern) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePattern(string(text))
	return err
}

// Names returns the pattern without an id, for those who know repositories by
// their names alone.
func (p Pattern) Names() string { return p.text }

// ID returns the id that the repository has to have; 0 is any.
func (p Pattern) ID() int64 { return p.id }

// Owner returns the account in lower case; "" for "*".
func (p Pattern) Owner() string { return p.owner }

// Everything reports whether p is "*".
func (p Pattern) Everything() bool { return p.star && p.owner == "" }

// Equal reports whether p and q name the same, whatever the case and the id.
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

var errNoPatterns = errors.New("no repositories are named, so there is nothing to mint a token for")

// A Pin is a repository by its id, which is never given to another one: a name
// is, after a repository was renamed or deleted.
type Pin struct {
	ID   int64
	Name string // what it has to be called, without its owner; "" is any name
}

// String is the pin for people.
func (p Pin) String() string { return fmt.Sprintf("%s#%d", p.Name, p.ID) }

// named are the repositories that have to have a name; of those that GitHub is
// asked for by name, the id is 0.
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

// pinsOf are exact patterns that all have an id.
func pinsOf(patterns []Pattern) []Pin {
	var pins []Pin
	for _, p := range patterns {
		pins = append(pins, Pin{p.id, p.name})
	}
	return pins
}

// Allowed reports whether patterns allow owner/name, and the id that the
// repository has to have, 0 for any. An id counts, whatever else allows the name.
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

// pinned reports whether patterns of one owner allow a repository that there is.
// That one of them is meant and has another name, or that another has its name, is
// an error, whatever else allows it.
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
	return &Error{Kind: Renamed, Doing: doing, Now: now, Err: fmt.Errorf("it is called %s now", now)}
}

func replaced(fullName string, meant, now int64) error {
	return &Error{Kind: Replaced, Doing: fmt.Sprintf("find %s#%d", fullName, meant), Err: fmt.Errorf("the repository of that name is another one, with the id %d", now)}
}
