package issuing

import (
	"maps"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace/profile"
)

// Needs are the permissions that tokens will be asked for: those of the profiles, or
// without profiles everything that the App asks for.
type Needs struct {
	Profiles []*profile.Profile
	Asked    map[string]string // by the App
	// IsPart means that the App is one of several. It need not be installed on every
	// account that a profile names, and need not have all permissions: it is not chosen
	// where it lacks some.
	IsPart bool
}

// A Reach says whether tokens will be asked for on an account.
type Reach int

// The reaches.
const (
	None    Reach = iota // no profile has repositories of the account
	Covered              // a profile covers all accounts
	Named                // a profile names the account
)

// Of returns the permissions needed on an account.
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

func reachOf(p *profile.Profile, login string) Reach {
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

// add adds the profile's permissions to needed.
func (n Needs) add(needed map[string]string, p *profile.Profile) {
	levels := p.Permissions.Levels()
	if levels == nil {
		levels = n.Asked
	}
	maps.Copy(needed, mint.Lacking(levels, needed))
}

// All returns the permissions needed on any account.
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

// Owners returns the accounts that profiles name, in lower case and sorted.
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

// Everything reports whether a profile covers all repositories.
func (n Needs) Everything() bool {
	return slices.ContainsFunc(n.Profiles, func(p *profile.Profile) bool {
		return slices.ContainsFunc(p.Repositories, mint.Pattern.Everything)
	})
}
