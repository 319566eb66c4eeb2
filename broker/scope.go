package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace/profile"
)

// A Scope is what one token opens. Requests of the same scope share a token.
type Scope struct {
	Repo gitname.Repo
	// Grant is what GitHub is asked for, as [Authorize] decided. The installation is filled
	// in when GitHub is asked.
	Grant mint.Grant
	// AnyName says that only the repository's ID counts. Repo is then the name in the
	// profile.
	AnyName bool
	// For identifies the sharers of the token: all workspaces of one version of a
	// profile, or one workspace. When the token is revoked, they all lose it.
	For string
	// Author is For without the profile's version. One author always gets the same App of a
	// pool.
	Author string

	publishAs place // where a new token is published
}

// RepositoryID is the ID that the repository must have; 0 accepts any.
func (s Scope) RepositoryID() int64 {
	if ids := s.Grant.Repositories.IDs(); len(ids) == 1 {
		return ids[0]
	}
	return 0
}

// Permissions are those of the token. They are never empty.
func (s Scope) Permissions() map[string]string { return s.Grant.Permissions.Levels() }

// Key identifies the scope: two scopes with the same key share a token.
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

// isOwn reports whether the scope belongs to one workspace.
func (s Scope) isOwn() bool { return strings.HasPrefix(s.For, ownPrefix) }

// A Blocker knows which workspaces and accounts are blocked.
type Blocker interface {
	// BlockedFor reports whether a workspace, or the account for all workspaces, is blocked.
	// On an error the request is refused.
	BlockedFor(ctx context.Context, workspace, owner string) (bool, error)
	// Blocked reports whether a workspace is blocked for all accounts.
	Blocked(ctx context.Context, workspace string) (bool, error)
}

// Authorize decides by the profile alone whether a workspace may have what it asks for, and
// what the token opens. It makes no calls.
func Authorize(w Workspace, r api.TokenRequest) (Scope, error) {
	if w.Policy == nil || !w.Policy.Serves(r.Host) {
		return Scope{}, &Refusal{Status: http.StatusNoContent, Reason: ReasonHost, Detail: "this broker does not serve that host"}
	}
	id, err := repositoryFor(w, r)
	if err != nil {
		return Scope{}, err
	}
	permissions, err := permissionsFor(w, r)
	if err != nil {
		return Scope{}, err
	}
	repositories := mint.RepositoryNames(r.Repo.Name)
	if id != 0 {
		repositories = mint.PinnedRepositories(mint.Pin{ID: id, Name: r.Repo.Name})
	}
	scope := Scope{Repo: r.Repo, Grant: mint.Grant{Repositories: repositories, Permissions: permissions}, For: sharersOf(w), Author: authorOf(w)}
	if id != 0 && w.AnyName {
		scope.AnyName, scope.Grant.Repositories = true, mint.RepositoryIDs(id)
	}
	return scope, nil
}

// sharersOf returns the For of a scope: workspaces with the same text share tokens. Two
// versions of a profile share none.
func sharersOf(w Workspace) string {
	if w.Profile.Sharing == profile.ShareNothing {
		return ownPrefix + w.ID
	}
	return "profile " + w.Profile.Name + " " + w.Profile.Version
}

// authorWorkspace begins the Author of a workspace that has its own tokens.
const authorWorkspace = "workspace "

// authorOf returns the Author of a scope: workspaces with the same text always get the
// same App. GitHub shows the App as the author.
func authorOf(w Workspace) string {
	if w.Profile.Sharing == profile.ShareNothing {
		return authorWorkspace + w.ID
	}
	return "profile " + w.Profile.Name
}

// ownPrefix begins For of a scope that belongs to one workspace.
const ownPrefix = "workspace "

// repositoryFor is the ID that the repository must have: the profile's, else the requested
// one; 0 accepts any.
func repositoryFor(w Workspace, r api.TokenRequest) (int64, error) {
	var id int64
	ok := false
	if w.Profile != nil {
		id, ok = mint.Allowed(w.Profile.Repositories, r.Repo.Owner, r.Repo.Name)
	}
	if !ok {
		return 0, forbid(ReasonRepository, "the profile of workspace "+w.ID+" does not allow "+r.Repo.String())
	}
	if id != 0 && r.RepositoryID != 0 && r.RepositoryID != id {
		return 0, forbid(ReasonRepository, fmt.Sprintf("the profile of workspace %s allows %s with the ID %d, not %d", w.ID, r.Repo.String(), id, r.RepositoryID))
	}
	return cmp.Or(id, r.RepositoryID), nil
}

func forbid(reason, detail string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Reason: reason, Detail: detail}
}

// contents is the permission that git needs.
const contents = "contents"

// permissionsFor returns the permissions that the operation needs, or the requested ones if
// the profile allows them.
func permissionsFor(w Workspace, r api.TokenRequest) (mint.Permissions, error) {
	allowed := w.Profile.Maximum().Levels()
	wanted := r.Permissions
	if wanted == nil {
		level := "read"
		if r.Operation == api.Write {
			level = "write"
		}
		wanted = map[string]string{contents: level}
	}
	permissions := mint.PermissionLevels(wanted)
	if err := permissions.Validate(); err != nil {
		return permissions, &Refusal{Status: http.StatusBadRequest, Reason: ReasonRequest, Detail: err.Error()}
	}
	lacking := mint.Lacking(wanted, allowed)
	if len(lacking) > 0 {
		return permissions, forbid(ReasonPermission, "the profile of workspace "+w.ID+" does not allow "+mint.LevelsText(lacking))
	}
	return permissions, nil
}

// authorized refuses what the profile does not allow, and blocked workspaces and
// accounts. It checks the block list again before it answers: a workspace that was
// blocked meanwhile gets nothing, and the block's revocation finds and revokes its
// recorded token.
func authorized(block Blocker, next func(context.Context, Workspace, api.TokenRequest, Scope) (Grant, error)) Vendor {
	return func(ctx context.Context, w Workspace, r api.TokenRequest) (Grant, error) {
		scope, err := Authorize(w, r)
		if err == nil {
			err = checkBlocked(ctx, block, w, scope)
		}
		if err != nil {
			return Grant{}, err
		}
		g, err := next(ctx, w, r, scope)
		if err == nil {
			err = checkBlocked(ctx, block, w, scope)
		}
		if err != nil {
			return Grant{}, hideName(w, r, err)
		}
		return g, nil
	}
}

// hideName removes a repository's current name from an error, for a workspace that asked by
// ID and may not access that name. IDs can be guessed.
func hideName(w Workspace, r api.TokenRequest, err error) error {
	e, ok := errors.AsType[*mint.Error](err)
	if !ok || e.Now == "" {
		return err
	}
	if pin, _ := mint.Allowed(w.Profile.Repositories, r.Repo.Owner, r.Repo.Name); pin != 0 {
		return err // the profile has the id, so its author knows it
	}
	now, _ := gitname.Repository(e.Now)
	if _, ok := mint.Allowed(w.Profile.Repositories, now.Owner, now.Name); ok {
		return err
	}
	return &Refusal{Status: http.StatusForbidden, Reason: ReasonGitHub, Detail: fmt.Sprintf("%s does not have the ID %d", r.Repo.String(), r.RepositoryID), Err: err}
}

// blocklistRetry is the Retry-After while the block list cannot be read.
const blocklistRetry = 2 * time.Second

func checkBlocked(ctx context.Context, block Blocker, w Workspace, s Scope) error {
	blocked, err := block.BlockedFor(ctx, w.ID, s.Repo.Owner)
	if err != nil {
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonStore, RetryAfter: blocklistRetry, Detail: "the broker cannot read its block list; until it can, it vends no token", Err: err}
	}
	if blocked {
		return forbid(ReasonBlocked, "workspace "+w.ID+" is blocked, or owner "+s.Repo.Owner+" is")
	}
	return nil
}

// A TokenLimit bounds the tokens that endpoints give to a workspace. The profile bounds them
// as well.
type TokenLimit string

// The limits.
const (
	TokensWrite TokenLimit = ""     // everything that the profile allows
	TokensRead  TokenLimit = "read" // tokens whose permissions are all "read"
	TokensNone  TokenLimit = "none" // no token
)

// ParseTokenLimit parses none, read or write; "" is write.
func ParseTokenLimit(text string) (limit TokenLimit, ok bool) {
	if text == "write" {
		return TokensWrite, true
	}
	limit = TokenLimit(text)
	return limit, slices.Contains([]TokenLimit{TokensWrite, TokensRead, TokensNone}, limit)
}

// capped refuses requests that exceed the workspace's token limit.
func capped(next Vendor) Vendor {
	return func(ctx context.Context, w Workspace, r api.TokenRequest) (Grant, error) {
		if !w.Tokens.allows(r) {
			return Grant{}, forbid(ReasonPermission, w.Tokens.refusal(w.Rule))
		}
		return next(ctx, w, r)
	}
}

func (l TokenLimit) allows(r api.TokenRequest) bool {
	switch l {
	case TokensWrite:
		return true
	case TokensRead:
		return r.Operation == api.Read && readsOnly(r.Permissions)
	}
	return false
}

func readsOnly(permissions map[string]string) bool {
	for _, level := range permissions {
		if level != "read" {
			return false
		}
	}
	return true
}

func (l TokenLimit) refusal(rule string) string {
	if l == TokensRead {
		return "the rule " + rule + " gives read tokens only; push through the git gateway"
	}
	return "the rule " + rule + " gives no tokens; use the git gateway"
}
