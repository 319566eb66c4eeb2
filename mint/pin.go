package mint

import (
	"fmt"
	"strings"
)

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
