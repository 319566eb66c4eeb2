package broker

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// A Minter asks GitHub for tokens. [mint.App] is one.
type Minter interface {
	InstallationFor(ctx context.Context, owner, name string) (mint.Installation, error)
	InstallationForID(ctx context.Context, repository int64) (mint.Installation, error)
	Mint(ctx context.Context, g mint.Grant) (mint.Minted, error)
}

// minted asks GitHub for a token of exactly that scope: one repository, by the
// installation that reaches it. What GitHub answers has been compared with what
// was asked ([mint.App.Mint]); a narrower token is refused here, since a
// workspace that relies on it would fail later and elsewhere.
//
// Of several Apps the one mints whose turn it is ([Pooled]).
func minted(github Minter) MintFunc {
	return func(ctx context.Context, s Scope) (mint.Minted, error) {
		pooled, ok := github.(Pooled)
		if !ok {
			return mintedBy(ctx, github, s, false)
		}
		members := pooled.Members(ctx, s.Repo.Owner)
		if len(members) == 1 && members[0].Err == nil {
			return mintedBy(ctx, members[0], s, false)
		}
		return mintedByAny(ctx, pooled, members, s)
	}
}

// mintedBy asks one App. With isChecked the App is not asked for a token that its
// installation was not granted.
func mintedBy(ctx context.Context, app Minter, s Scope, isChecked bool) (mint.Minted, error) {
	i, err := installation(ctx, app, s)
	if err != nil {
		return mint.Minted{}, fromGitHub(err)
	}
	if i.Suspended() {
		suspended := mint.Fits(i, nil)
		return mint.Minted{}, &Refusal{Status: http.StatusForbidden, Reason: ReasonGitHub, Detail: "the App's installation on " + s.Repo.Owner + " is suspended", Err: suspended}
	}
	if isChecked {
		if err := mint.Fits(i, s.Permissions()); err != nil {
			return mint.Minted{}, fromGitHub(err)
		}
	}
	grant := s.Grant
	grant.Owner, grant.Installation = i.Account.Login, i.ID
	m, err := app.Mint(ctx, grant)
	if err == nil && len(m.Narrower) > 0 {
		err = &mint.Error{Kind: mint.NotGranted, Doing: "mint a token", Message: "GitHub granted less than was asked: " + strings.Join(m.Narrower, ", ")}
	}
	if err != nil {
		return m, fromGitHub(err)
	}
	return m, nil
}

// installation finds the one that reaches the repository of a scope. A repository that is
// meant by its id alone has to belong to the account that it is asked of.
func installation(ctx context.Context, app Minter, s Scope) (mint.Installation, error) {
	if !s.AnyName {
		return app.InstallationFor(ctx, s.Repo.Owner, s.Repo.Name)
	}
	i, err := app.InstallationForID(ctx, s.RepositoryID())
	if err == nil && gitname.Fold(i.Account.Login) != s.Repo.Owner {
		err = &mint.Error{Kind: mint.Renamed, Doing: "find " + s.Repo.String(), Message: "it belongs to another account by now: the account was renamed, or the repository transferred"}
	}
	return i, err
}

// fromGitHub says what becomes of GitHub's refusal: that something is not granted
// is the caller's business, and that GitHub or our key cannot be had is not.
func fromGitHub(err error) error {
	e, ok := errors.AsType[*mint.Error](err)
	if !ok && errors.Is(err, context.DeadlineExceeded) {
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonGitHub, RetryAfter: RetryAfter, Detail: "GitHub did not answer in time", Err: err}
	}
	if !ok {
		return err
	}
	r := &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonGitHub, RetryAfter: max(e.RetryAfter, RetryAfter), Err: err}
	switch e.Kind {
	case mint.NotInstalled, mint.NotGranted, mint.Renamed, mint.Replaced, mint.Suspended, mint.NotListed:
		r.Status, r.RetryAfter, r.Detail = http.StatusForbidden, 0, usererr.Cut(e.Error(), maxDetail)
	case mint.RateLimited:
		r.Detail = "GitHub's rate limit is used up"
	case mint.BadKey, mint.Unsigned, mint.Skewed:
		r.Detail = "the broker cannot prove itself to GitHub; its operator has to look"
	default:
		r.Detail = "GitHub cannot be had"
	}
	return r
}
