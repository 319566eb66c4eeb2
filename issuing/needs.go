package issuing

import (
	"maps"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// Needs are what tokens will be asked for: what the profiles say, or without
// any profile everything that the App asks of an account.
type Needs struct {
	Profiles []*workspace.Profile
	Asked    map[string]string // by the App
	// IsPart says that the App is one of several: it need not be installed wherever a
	// profile names an account, and is not chosen for what it lacks.
	IsPart bool
}

// A Reach says whether tokens for an account will be asked for.
type Reach int

// The reaches.
const (
	None    Reach = iota // no profile has repositories there
	Covered              // the account is one of all there are
	Named                // a profile names it
)

// Of returns what tokens for an account have to be able to do.
func (n Needs) Of(login string) (map[string]string, Reach) {
	if len(n.Profiles) == 0 {
		return n.Asked, Covered
	}
	needed, reach := map[string]string{}, None
	for _, p := range n.Profiles {
		if r := reachOf(p, login); r != None {
			n.add(needed, p)
			reach = max(reach, r)
		}
	}
	return needed, reach
}

func reachOf(p *workspace.Profile, login string) Reach {
	reach := None
	for _, pattern := range p.Repositories {
		switch {
		case pattern.Everything():
			reach = max(reach, Covered)
		case strings.EqualFold(pattern.Owner(), login):
			reach = Named
		}
	}
	return reach
}

// add raises needed to what the profile needs as well.
func (n Needs) add(needed map[string]string, p *workspace.Profile) {
	levels := p.Permissions.Levels()
	if levels == nil {
		levels = n.Asked
	}
	maps.Copy(needed, mint.Lacking(levels, needed))
}

// All returns what is needed on any account.
func (n Needs) All() map[string]string {
	if len(n.Profiles) == 0 {
		return n.Asked
	}
	needed := map[string]string{}
	for _, p := range n.Profiles {
		if p.HasAccess() {
			n.add(needed, p)
		}
	}
	return needed
}

// Owners are the accounts that profiles name, in lower case and sorted.
func (n Needs) Owners() []string {
	var owners []string
	for _, p := range n.Profiles {
		for _, pattern := range p.Repositories {
			if !pattern.Everything() {
				owners = append(owners, strings.ToLower(pattern.Owner()))
			}
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// Everything reports whether a profile wants all repositories there are.
func (n Needs) Everything() bool {
	return slices.ContainsFunc(n.Profiles, func(p *workspace.Profile) bool {
		return slices.ContainsFunc(p.Repositories, mint.Pattern.Everything)
	})
}
