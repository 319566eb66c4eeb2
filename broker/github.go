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
	"github.com/gatepass/gatepass/workspace/profile"
)

// A GitHub mints and revokes tokens. [mint.App] is one.
type GitHub interface {
	Minter
	// Revoke ends a token at GitHub.
	Revoke(ctx context.Context, t credential.Token) error
	// Accepts reports whether GitHub accepts a token.
	Accepts(ctx context.Context, t credential.Token) (bool, error)
	// Rate is the rate limit that GitHub reported last; known is false before the first
	// report.
	Rate() (r mint.Rate, known bool)
}

// A MintFunc mints a token for one scope.
type MintFunc func(context.Context, Scope) (mint.Minted, error)

// A Minter asks GitHub for tokens. [mint.App] is one.
type Minter interface {
	InstallationFor(ctx context.Context, owner, name string) (mint.Installation, error)
	InstallationForID(ctx context.Context, repository int64) (mint.Installation, error)
	Mint(ctx context.Context, g mint.Grant) (mint.Minted, error)
}

// minted asks GitHub for a token of exactly that scope: one repository, through the
// installation that reaches it. [mint.App.Mint] has compared the answer with the request. A
// narrower token is refused here: a workspace that relies on it would fail later, elsewhere.
// With several Apps, [Pooled] chooses the one.
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

// mintedBy asks one App. If isChecked is set, it does not ask for more than the installation
// was granted.
func mintedBy(ctx context.Context, app Minter, s Scope, isChecked bool) (mint.Minted, error) {
	i, err := installation(ctx, app, s)
	if err != nil {
		return mint.Minted{}, githubRefusal(err)
	}
	if i.Suspended() {
		suspended := mint.CheckInstallation(i, nil)
		return mint.Minted{}, &Refusal{Status: http.StatusForbidden, Reason: ReasonGitHub, Detail: "the App's installation on " + s.Repo.Owner + " is suspended", Err: suspended}
	}
	if isChecked {
		if err := mint.CheckInstallation(i, s.Permissions()); err != nil {
			return mint.Minted{}, githubRefusal(err)
		}
	}
	grant := s.Grant
	grant.Owner, grant.Installation = i.Account.Login, i.ID
	m, err := app.Mint(ctx, grant)
	if err == nil && len(m.Narrower) > 0 {
		err = &mint.Error{Kind: mint.NotGranted, Op: "mint a token", Message: "GitHub granted less than the broker requested: " + strings.Join(m.Narrower, ", ")}
	}
	if err != nil {
		return m, githubRefusal(err)
	}
	return m, nil
}

// installation finds the one that reaches the scope's repository. A repository that is pinned
// by ID must still belong to the expected account.
func installation(ctx context.Context, app Minter, s Scope) (mint.Installation, error) {
	if !s.AnyName {
		return app.InstallationFor(ctx, s.Repo.Owner, s.Repo.Name)
	}
	i, err := app.InstallationForID(ctx, s.RepositoryID())
	if err == nil && gitname.Fold(i.Account.Login) != s.Repo.Owner {
		err = &mint.Error{Kind: mint.Renamed, Op: "find " + s.Repo.String(), Message: "it belongs to another account now: the account was renamed, or the repository transferred"}
	}
	return i, err
}

// githubRefusal turns GitHub's error into an answer. The caller learns what is not granted.
// It does not learn why GitHub or the App's key is unavailable.
func githubRefusal(err error) error {
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
		r.Detail = "the broker cannot authenticate to GitHub; its operator must check the App's key"
	default:
		r.Detail = "GitHub is unavailable"
	}
	return r
}

// UnusedRevoker revokes tokens that were minted and vended to no workspace. They are not in the
// store. A token that cannot be revoked yet stays in memory until Retry succeeds or it
// expires.
type UnusedRevoker struct {
	// Revoke revokes a token; see [mint.App.Revoke].
	Revoke func(context.Context, credential.Token) error
	// Revoked is called with each token that Retry revoked; nil is not called.
	Revoked func(credential.Token)
	Now     func() time.Time // nil means time.Now

	mu      sync.Mutex // guards pending
	pending map[credential.ID]credential.Token
}

func (b *UnusedRevoker) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// RevokeUnused revokes a token. After an error, Retry tries again.
func (b *UnusedRevoker) RevokeUnused(ctx context.Context, t credential.Token) error {
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
func (b *UnusedRevoker) Retry(ctx context.Context) error {
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
	// Members returns all Apps, at least one. A single one is used without the pool.
	Members(ctx context.Context, owner string) []Member
	// Candidates returns those of the Apps that can mint. It does not wait.
	Candidates(owner string) []mint.Candidate
	// Preferred is Turn for a caller that does not mint; ok is false if no App can.
	Preferred(key string, seats ...mint.Candidate) (seat mint.Candidate, ok bool)
	// ChooseByKey returns the seat whose turn it is; see [mint.Pool.Turn].
	ChooseByKey(key string, seats ...mint.Candidate) (mint.Candidate, func(error), error)
}

// A Member is one App of a pool. Its Candidate has the App's name.
type Member struct {
	Minter
	mint.Candidate
	Err error // why the App cannot be used; nil if it can
}

// poolKey returns a key that always gets the same App, so that comments, checks and
// commits keep one author. A workspace that has its own tokens has its own key; the
// other workspaces of a profile share one in each repository.
func (s Scope) poolKey() string {
	if strings.HasPrefix(s.Author, authorWorkspace) {
		return s.Author
	}
	return s.Author + " " + s.Repo.String()
}

// mintedByAny asks the App whose turn it is, and the next one if that cannot mint. For a
// scope that writes checks it skips only Apps that are not installed or not granted enough:
// at GitHub, only the App that created a check run can update it.
func mintedByAny(ctx context.Context, github Pooled, members []Member, s Scope) (mint.Minted, error) {
	var first error
	unseen := 0
	for len(members) > 0 {
		at, done, err := preferredApp(github, members, s)
		if err != nil {
			return mint.Minted{Unconfirmed: unseen}, githubRefusal(firstError(first, err))
		}
		m, err := mintedBy(ctx, members[at], s, true)
		done(err)
		m.Unconfirmed += unseen
		if first != nil && err == nil {
			m.FallbackReason = "an earlier App cannot mint: " + first.Error()
		}
		isMade := !m.Token.IsZero() // it opens less than requested and must be revoked
		if isMade || !mint.IsAppSpecific(err) || s.writesChecks() && isBlocked(err) {
			return m, err
		}
		unseen, first = m.Unconfirmed, firstError(first, err)
		members = slices.Delete(slices.Clone(members), at, at+1)
	}
	return mint.Minted{Unconfirmed: unseen}, first
}

// AppOf returns the client ID of the App that would mint for a workspace in a repository.
// For the zero Repo, that is the repository of the workspace's profile, if it names one
// only. AppOf returns "" if there is one App, if none can mint, or if the App depends on a
// repository that is not known. It does not wait.
func (b *Broker) AppOf(w Workspace, repo gitname.Repo) string {
	pooled, ok := b.GitHub.(Pooled)
	if !ok {
		return ""
	}
	s := Scope{Repo: repo, Author: authorOf(w)}
	if !repo.IsValid() {
		if s.Repo, ok = onlyRepo(w.Profile); !ok {
			return ""
		}
	}
	candidates := pooled.Candidates(s.Repo.Owner)
	if len(candidates) < 2 {
		return ""
	}
	app, ok := pooled.Preferred(s.poolKey(), candidates...)
	if !ok {
		return ""
	}
	return app.App.ID
}

// onlyRepo returns the one repository that a profile names. Of a profile whose workspaces
// have tokens of their own, the owner is enough: they have one App for all repositories of
// an owner.
func onlyRepo(p *profile.Profile) (only gitname.Repo, ok bool) {
	for at, pattern := range p.Repositories {
		owner, name, _ := strings.Cut(gitname.Fold(pattern.Names()), "/")
		if p.Sharing == profile.ShareNothing {
			name = ""
		}
		one := gitname.Repo{Owner: owner, Name: name}
		if strings.Contains(owner+name, "*") || at > 0 && one != only {
			return gitname.Repo{}, false
		}
		only = one
	}
	return only, only.Owner != ""
}

func firstError(first, second error) error {
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

// preferredApp returns the index of the member whose turn it is. A scope that writes checks
// waits for its one App.
func preferredApp(github Pooled, members []Member, s Scope) (at int, done func(error), err error) {
	var all, usable []mint.Candidate
	for _, m := range members {
		all = append(all, m.Candidate)
		if m.Err == nil {
			usable = append(usable, m.Candidate)
		} else {
			err = firstError(err, m.Err)
		}
	}
	is := func(seat mint.Candidate) func(Member) bool { return func(m Member) bool { return m.Name == seat.Name } }
	if s.writesChecks() {
		usable = []mint.Candidate{mint.FirstByKey(s.poolKey(), all...)}
		err = members[slices.IndexFunc(members, is(usable[0]))].Err
		if err != nil {
			return -1, nil, err
		}
	}
	if len(usable) == 0 {
		return -1, nil, err
	}
	seat, done, err := github.ChooseByKey(s.poolKey(), usable...)
	return slices.IndexFunc(members, is(seat)), done, err
}
