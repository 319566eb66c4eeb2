// Package broker answers workspaces that prove who they are with tokens that
// open exactly what their profile says.
//
// [New] is the one place that puts a broker together. A request goes through
// decorators, and their order is part of the safety:
//
//	audited(limited(capped(authorized(kept(Cache(Shared(journaled(published(minted)))))))))
//
// audited is outermost, so that nothing is answered that was not written down.
// limited bounds what one workspace asks for. capped keeps tokens from workspaces that
// use the git gateway instead. authorized comes before the cache: a
// warm cache never answers what the policy refuses. kept writes down what a workspace
// is given, so that any replica can revoke it. Shared takes what another replica made, below
// the cache and thus below what the policy refuses. journaled has the intent on the disk
// before GitHub is asked, and the outcome afterwards; published comes below it, so that the
// log says it, and the token is revoked, where the store cannot keep it. A request sees one generation of
// the policy from its beginning to its end ([Workspace.Policy]).
package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// A Workspace is an authenticated caller and everything it may be given. It is
// resolved once per request and carried to the end.
type Workspace struct {
	ID      string
	Profile *workspace.Profile
	Rule    string // the rule of the policy that says so
	// AnyName has a repository that the profile gives an id be found by that id alone. It
	// is for what the broker forwards itself: a name that leads elsewhere by now is of no
	// use to a workspace that has the token.
	AnyName bool
	// RuleHash, Tokens and Sleep are the rule's.
	RuleHash string
	Tokens   TokenLimit
	Sleep    time.Duration
	// Claims are those that the rule looked at, for the audit log.
	Claims map[string]string
	Caller Caller
	Policy *Policy
	// RequestID is that of the request, for the audit log.
	RequestID string
}

// A Scope is what one token opens. Requests of one scope share a token.
type Scope struct {
	Repo gitname.Repo
	// Grant is what GitHub is asked for, as [Authorize] decided it. Its installation is
	// found when GitHub is asked.
	Grant mint.Grant
	// AnyName says that the repository is meant by its id, whatever it is called now. Repo
	// is then what the profile calls it.
	AnyName bool
	// For is who shares the token: workspaces of one version of a profile, or one
	// workspace alone. Whoever shares it is cut off when it is revoked.
	For string
	// Author is For whatever the version of the profile: who stays with one App of several.
	Author string

	keep place // where a new token is kept for the other replicas
}

// RepositoryID is the only repository that may have the name; 0 is any.
func (s Scope) RepositoryID() int64 {
	if ids := s.Grant.Repositories.IDs(); len(ids) == 1 {
		return ids[0]
	}
	return 0
}

// Permissions are those of the token, never empty.
func (s Scope) Permissions() map[string]string { return s.Grant.Permissions.Levels() }

// Key tells scopes from each other.
func (s Scope) Key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s#%d", s.Repo, s.RepositoryID())
	levels := s.Permissions()
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		fmt.Fprintf(&b, " %s:%s", name, levels[name])
	}
	if s.AnyName {
		b.WriteString(" under any name")
	}
	b.WriteString(" " + s.For)
	return b.String()
}

// A Grant is a token and how it came to be.
type Grant struct {
	Token  credential.Token
	Scope  Scope
	Cached bool // it was made for an earlier request
}

// A Vendor answers one request of a workspace. Its error is a [*Refusal], or
// something that is not the caller's business.
type Vendor func(context.Context, Workspace, api.TokenRequest) (Grant, error)
