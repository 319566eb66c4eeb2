package broker

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
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

// minted asks GitHub for a token of exactly the scope: one repository, by the
// installation that covers it. [mint.App.Mint] has compared GitHub's answer with the
// request. minted also refuses a narrower token, because a workspace that relies on it
// would fail later, with a less clear error.
//
// Of several Apps, the one whose turn it is mints ([Pooled]).
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

// mintedBy asks one App. With isChecked, it first checks that the installation was
// granted the permissions.
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

// installation returns the installation that covers the scope's repository. A
// repository that is found by its id must belong to the account in the scope.
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

// fromGitHub converts an error of GitHub for the caller. The caller sees why something
// was not granted, but no details of an outage or of a bad key.
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

// TakeBack revokes tokens that were minted but given to no workspace, so that the vend
// log does not have them. If a revocation fails, TakeBack keeps the token in memory,
// and Retry tries again until the token expires.
type TakeBack struct {
	// Revoke revokes a token; see [mint.App.Revoke].
	Revoke func(context.Context, credential.Token) error
	// Revoked is called for each token that Retry revoked; nil disables it.
	Revoked func(credential.Token)
	Now     func() time.Time // nil means time.Now

	mu      sync.Mutex // guards pending
	pending map[credential.ID]credential.Token
}

func (b *TakeBack) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// Take revokes a token. If it returns an error, Retry tries again.
func (b *TakeBack) Take(ctx context.Context, t credential.Token) error {
	err := b.Revoke(ctx, t)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.pending == nil {
			b.pending = map[credential.ID]credential.Token{}
		}
		b.pending[t.ID()] = t
	}
	return err
}

// Retry revokes the tokens that Take could not revoke.
func (b *TakeBack) Retry(ctx context.Context) error {
	b.mu.Lock()
	var tokens []credential.Token
	for key, t := range b.pending {
		if !t.Expiry.After(b.now()) {
			delete(b.pending, key)
			continue
		}
		tokens = append(tokens, t)
	}
	b.mu.Unlock()
	var errs []error
	for _, t := range tokens {
		if err := b.Revoke(ctx, t); err != nil {
			errs = append(errs, err)
			continue
		}
		b.mu.Lock()
		delete(b.pending, t.ID())
		b.mu.Unlock()
		if b.Revoked != nil {
			b.Revoked(t)
		}
	}
	return usererr.Join(errs...)
}

// A Pooled is a GitHub with several Apps that mint for the same accounts.
type Pooled interface {
	// Members returns all Apps, at least one. A single one is used as if there were no
	// pool.
	Members(ctx context.Context, owner string) []Member
	// Seats returns the seats of the Apps that can be used. It does not wait.
	Seats(owner string) []mint.Seat
	// Whose is Turn for a caller that does not mint; ok is false if no App can mint.
	Whose(key string, seats ...mint.Seat) (seat mint.Seat, ok bool)
	// Turn returns the seat whose turn it is; see [mint.Pool.Turn].
	Turn(key string, seats ...mint.Seat) (mint.Seat, func(error), error)
}

// A Member is one App of a pool. Its Seat has the App's name.
type Member struct {
	Minter
	mint.Seat
	Err error // why it cannot be used; nil if it can
}

// turnKey identifies the workspaces that should stay with one App, so that comments,
// checks and commits keep one author: a workspace with its own tokens, or else all
// workspaces of a profile in one repository.
func (s Scope) turnKey() string {
	if strings.HasPrefix(s.Author, authorWorkspace) {
		return s.Author
	}
	return s.Author + " " + s.Repo.String()
}

// mintedByAny asks the App whose turn it is, and the next one if that cannot mint. For
// a scope that writes checks, it skips only Apps that are not installed there or were
// not granted enough, not one that GitHub blocks for a while: no other App could update
// its check runs.
func mintedByAny(ctx context.Context, github Pooled, members []Member, s Scope) (mint.Minted, error) {
	var first error
	unseen := 0
	for len(members) > 0 {
		at, done, err := whoseTurn(github, members, s)
		if err != nil {
			return mint.Minted{Unconfirmed: unseen}, fromGitHub(cmpError(first, err))
		}
		m, err := mintedBy(ctx, members[at], s, true)
		done(err)
		m.Unconfirmed += unseen
		if first != nil && err == nil {
			m.Instead = "an App before it cannot mint: " + first.Error()
		}
		isMade := !m.Token.IsZero() // it gives less access than was asked, and will be revoked
		if isMade || !mint.IsPassedOver(err) || s.writesChecks() && isBlocked(err) {
			return m, err
		}
		unseen, first = m.Unconfirmed, cmpError(first, err)
		members = slices.Delete(slices.Clone(members), at, at+1)
	}
	return mint.Minted{Unconfirmed: unseen}, first
}

func cmpError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

func (s Scope) writesChecks() bool { return s.Permissions()["checks"] == "write" }

// isBlocked reports whether an App that cannot mint now may be able to later.
func isBlocked(err error) bool {
	e, ok := errors.AsType[*mint.Error](err)
	return ok && e.Kind != mint.NotInstalled && e.Kind != mint.NotGranted
}

// whoseTurn returns the index of the member whose turn it is. A scope that writes
// checks always has the same App, and waits for it.
func whoseTurn(github Pooled, members []Member, s Scope) (at int, done func(error), err error) {
	var all, usable []mint.Seat
	for _, m := range members {
		all = append(all, m.Seat)
		if m.Err == nil {
			usable = append(usable, m.Seat)
		} else {
			err = cmpError(err, m.Err)
		}
	}
	is := func(seat mint.Seat) func(Member) bool { return func(m Member) bool { return m.Name == seat.Name } }
	if s.writesChecks() {
		usable = []mint.Seat{mint.FirstTurn(s.turnKey(), all...)}
		err = members[slices.IndexFunc(members, is(usable[0]))].Err
		if err != nil {
			return -1, nil, err
		}
	}
	if len(usable) == 0 {
		return -1, nil, err
	}
	seat, done, err := github.Turn(s.turnKey(), usable...)
	return slices.IndexFunc(members, is(seat)), done, err
}
