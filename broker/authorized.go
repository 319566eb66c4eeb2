package broker

import (
	"context"
	"net/http"
	"slices"

	"github.com/gatepass/gatepass/broker/api"
	"github.com/gatepass/gatepass/mint"
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
	if w.Profile == nil || !slices.ContainsFunc(w.Profile.Repositories, func(p mint.Pattern) bool { return p.Match(a.Owner, a.Name) }) {
		return Scope{}, forbid(ReasonRepository, "the profile of workspace "+w.ID+" does not allow "+a.Repo())
	}
	permissions, err := permissionsFor(w, a)
	if err != nil {
		return Scope{}, err
	}
	return Scope{Owner: a.Owner, Name: a.Name, Permissions: permissions}, nil
}

func forbid(reason, detail string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Reason: reason, Detail: detail}
}

// contents is the permission that git needs.
const contents = "contents"

// permissionsFor is what the operation needs, or what was asked for where that
// is no more than the profile has.
func permissionsFor(w Workspace, a Ask) (map[string]string, error) {
	allowed := w.Profile.Permissions.With(w.Profile.Optional).Levels()
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
		return nil, forbid(ReasonPermission, "the profile of workspace "+w.ID+" does not allow "+LevelsText(lacking))
	}
	return wanted, nil
}

// Authorized refuses what the profile does not allow and who was barred, and
// passes on the rest with its scope decided. It looks at the bar again before it
// answers: a workspace that was barred meanwhile gets nothing, and what was kept
// for it is found by who barred it.
func Authorized(bar Bar, next func(context.Context, Workspace, Ask, Scope) (Grant, error)) Vendor {
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
			return Grant{}, err
		}
		return g, nil
	}
}

func checkBar(ctx context.Context, bar Bar, w Workspace, s Scope) error {
	barred, err := bar.BarredFor(ctx, w.ID, s.Owner)
	if err != nil {
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonStore, RetryAfter: outageRetry, Detail: "the broker cannot tell whether this workspace was revoked", Err: err}
	}
	if barred {
		return forbid(ReasonBarred, "workspace "+w.ID+" was revoked, or everything of "+s.Owner+" was")
	}
	return nil
}
