package ruleset

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// An Actor is a user, team or app that may bypass a ruleset.
type Actor struct {
	ID   *int64 `json:"actor_id"`
	Type string `json:"actor_type"`
	Mode string `json:"bypass_mode"`
}

// The types of actors: those with an id, and the two without.
var (
	numbered = []string{"Integration", "RepositoryRole", "Team", "User"}
	single   = []string{"OrganizationAdmin", "DeployKey"}
)

// ParseActor parses "TYPE:ID", such as "Team:42", or the bare "OrganizationAdmin" and
// "DeployKey".
func ParseActor(s string) (Actor, error) {
	kind, id, found := strings.Cut(s, ":")
	if !found && slices.Contains(single, kind) {
		return Actor{Type: kind, Mode: "always"}, nil
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 || !slices.Contains(numbered, kind) {
		return Actor{}, errors.New("want TYPE:ID with one of " + strings.Join(numbered, ", ") + ", or one of " + strings.Join(single, ", "))
	}
	return Actor{ID: &n, Type: kind, Mode: "always"}, nil
}
