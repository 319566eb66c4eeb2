package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// A Bar says who is given nothing any more.
type Bar interface {
	// BarredFor reports whether a workspace is given nothing of an account any
	// more. An error refuses.
	BarredFor(ctx context.Context, workspace, owner string) (bool, error)
	// Barred reports whether a workspace is given nothing at all any more.
	Barred(ctx context.Context, workspace string) (bool, error)
}

// Authorize decides by the profile alone whether a workspace may have what it
// asks for, and what a token for that opens. It asks nobody.
func Authorize(w Workspace, a Ask) (Scope, error) {
	if w.Policy == nil || !w.Policy.Serves(a.Host) {
		return Scope{}, &Refusal{Status: http.StatusNoContent, Reason: ReasonHost, Detail: "this broker does not serve that host"}
	}
	id, err := repositoryFor(w, a)
	if err != nil {
		return Scope{}, err
	}
	permissions, err := permissionsFor(w, a)
	if err != nil {
		return Scope{}, err
	}
	return Scope{Owner: a.Owner, Name: a.Name, RepositoryID: id, Permissions: permissions, For: sharersOf(w)}, nil
}

// sharersOf is who may have the same token as a workspace. Two profiles of one name,
// before and after a reload, are two.
func sharersOf(w Workspace) string {
	if w.Profile.Sharing == workspace.ShareNothing {
		return "workspace " + w.ID
	}
	return "profile " + w.Profile.Name + " " + w.Profile.Version
}

// repositoryFor is the id that the repository has to have: the profile's, or else
// the one that was asked for; 0 is any.
func repositoryFor(w Workspace, a Ask) (int64, error) {
	var id int64
	ok := false
	if w.Profile != nil {
		id, ok = mint.Allowed(w.Profile.Repositories, a.Owner, a.Name)
	}
	if !ok {
		return 0, forbid(ReasonRepository, "the profile of workspace "+w.ID+" does not allow "+a.Repo())
	}
	if id != 0 && a.RepositoryID != 0 && a.RepositoryID != id {
		return 0, forbid(ReasonRepository, fmt.Sprintf("the profile of workspace %s allows %s with the id %d, not %d", w.ID, a.Repo(), id, a.RepositoryID))
	}
	return cmp.Or(id, a.RepositoryID), nil
}

func forbid(reason, detail string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Reason: reason, Detail: detail}
}

// contents is the permission that git needs.
const contents = "contents"

// permissionsFor is what the operation needs, or what was asked for where that
// is no more than the profile has.
func permissionsFor(w Workspace, a Ask) (map[string]string, error) {
	allowed := w.Profile.Most().Levels()
	wanted := a.Permissions
	if wanted == nil {
		level := "read"
		if a.Operation == api.Write {
			level = "write"
		}
		wanted = map[string]string{contents: level}
	}
	if err := mint.PermissionLevels(wanted).Validate(); err != nil {
		return nil, &Refusal{Status: http.StatusBadRequest, Reason: ReasonRequest, Detail: err.Error()}
	}
	lacking := mint.Lacking(wanted, allowed)
	if len(lacking) > 0 {
		return nil, forbid(ReasonPermission, "the profile of workspace "+w.ID+" does not allow "+mint.LevelsText(lacking))
	}
	return wanted, nil
}

// authorized refuses what the profile does not allow and who was barred, and
// passes on the rest with its scope decided. It looks at the bar again before it
// answers: a workspace that was barred meanwhile gets nothing, and what was kept
// for it is found by who barred it.
func authorized(bar Bar, next func(context.Context, Workspace, Ask, Scope) (Grant, error)) Vendor {
	return func(ctx context.Context, w Workspace, a Ask) (Grant, error) {
		scope, err := Authorize(w, a)
		if err == nil {
			err = checkBar(ctx, bar, w, scope)
		}
		if err != nil {
			return Grant{}, err
		}
		g, err := next(ctx, w, a, scope)
		if err == nil {
			err = checkBar(ctx, bar, w, scope)
		}
		if err != nil {
			return Grant{}, discreet(w, a, err)
		}
		return g, nil
	}
}

// discreet keeps what a repository is called from a workspace that asked for its id
// and may have nothing of that name: ids can be guessed.
func discreet(w Workspace, a Ask, err error) error {
	e, ok := errors.AsType[*mint.Error](err)
	if !ok || e.Now == "" {
		return err
	}
	if pin, _ := mint.Allowed(w.Profile.Repositories, a.Owner, a.Name); pin != 0 {
		return err // who wrote the profile knows the id
	}
	owner, name, _ := strings.Cut(e.Now, "/")
	if _, ok := mint.Allowed(w.Profile.Repositories, owner, name); ok {
		return err
	}
	return &Refusal{Status: http.StatusForbidden, Reason: ReasonGitHub, Detail: fmt.Sprintf("%s does not have the id %d", a.Repo(), a.RepositoryID), Err: err}
}

// blocklistRetry is when a caller may try again after the list could not be read.
const blocklistRetry = 2 * time.Second

func checkBar(ctx context.Context, bar Bar, w Workspace, s Scope) error {
	barred, err := bar.BarredFor(ctx, w.ID, s.Owner)
	if err != nil {
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonStore, RetryAfter: blocklistRetry, Detail: "the broker cannot read the list of what is blocked, and gives nothing meanwhile", Err: err}
	}
	if barred {
		return forbid(ReasonBarred, "workspace "+w.ID+" was revoked, or everything of "+s.Owner+" was")
	}
	return nil
}
