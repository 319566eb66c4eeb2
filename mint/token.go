package mint

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

// ErrWider reports that GitHub granted more than was requested. The token has been
// revoked.
var ErrWider = errors.New("GitHub granted more than gatepass requested")

// Minted is a token and how it differs from the request.
type Minted struct {
	// Token has the permissions and repositories that GitHub granted, and the App's ID.
	// Repositories is nil if GitHub did not name them: with All, or if the request was
	// for all that is selected for the installation.
	Token credential.Token
	// Narrower describes what was requested and not granted; nil if everything was.
	Narrower []string
	// All means that the token opens every repository of its installation.
	All bool
	// FallbackReason says why an earlier App did not mint; "" if this App was the first one
	// asked. Callers that choose among several Apps set it.
	FallbackReason string
	// Unconfirmed counts further tokens that may be alive but whose value is not known,
	// because the answer never arrived, or that were unwanted and could not be revoked.
	// They live for their hour. It is also set beside an error.
	Unconfirmed int
}

// tokenRequest is the body of POST …/access_tokens. A missing list means everything,
// and is only sent if the caller stated that.
type tokenRequest struct {
	Repositories  []string          `json:"repositories,omitempty"`
	RepositoryIDs []int64           `json:"repository_ids,omitempty"`
	Permissions   map[string]string `json:"permissions,omitempty"`
}

// tokenAnswer is GitHub's answer.
type tokenAnswer struct {
	Token        string            `json:"token"`
	ExpiresAt    time.Time         `json:"expires_at"`
	Permissions  map[string]string `json:"permissions"`
	Selection    string            `json:"repository_selection"`
	Repositories []repository      `json:"repositories"`
}

type repository struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	FullName string `json:"full_name"`
}

// Mint mints the token that g describes. The error is an [*Error] if GitHub refuses,
// and wraps [ErrWider] if GitHub grants more than was requested. If GitHub says only
// that something is not granted, and g names an owner, the error names the missing
// permissions and repositories, and those that were renamed.
func (a *App) Mint(ctx context.Context, g Grant) (Minted, error) {
	m, err := a.mintOnce(ctx, g)
	if err == nil || g.Owner == "" {
		return m, err
	}
	if failure, ok := errors.AsType[*Error](err); ok && failure.Kind == NotGranted {
		if why := a.ExplainRefusal(ctx, g); why != nil {
			err = why
		}
	}
	return Minted{Unconfirmed: m.Unconfirmed}, fmt.Errorf("repositories of %s: %w", g.Owner, err)
}

func (a *App) mintOnce(ctx context.Context, g Grant) (Minted, error) {
	doing := fmt.Sprintf("mint a token for installation %d", g.Installation)
	if err := g.Validate(); err != nil {
		return Minted{}, fmt.Errorf("%s: %w", doing, err)
	}
	body, err := json.Marshal(tokenRequest{g.Repositories.names, g.Repositories.IDs(), g.Permissions.levels})
	if err != nil {
		return Minted{}, err
	}
	got, err := a.rest().do(ctx, call{
		doing: doing, method: http.MethodPost, want: http.StatusCreated, body: body,
		url: fmt.Sprintf("/app/installations/%d/access_tokens", g.Installation), installation: g.Installation,
	})
	if failure, ok := errors.AsType[*Error](err); ok {
		return Minted{Unconfirmed: failure.Unconfirmed}, err
	} else if err != nil {
		return Minted{}, err
	}
	m, err := a.accept(ctx, doing, g, got.body)
	m.Unconfirmed += got.unconfirmed
	if failure, ok := errors.AsType[*Error](err); ok {
		failure.Unconfirmed = m.Unconfirmed
	}
	return m, err
}

func (a *App) accept(ctx context.Context, doing string, g Grant, body []byte) (Minted, error) {
	var granted tokenAnswer
	if err := decode(doing, body, &granted); err != nil {
		return Minted{Unconfirmed: 1}, err
	}
	if err := credential.CheckSecret(granted.Token); err != nil || granted.ExpiresAt.IsZero() {
		return Minted{Unconfirmed: 1}, &Error{Kind: Unavailable, Op: doing, Err: errors.New("the answer has no token or no expiry")}
	}
	token := credential.NewToken(granted.Token, granted.ExpiresAt)
	if left := granted.ExpiresAt.Sub(a.Time()); left < minLife {
		return a.refuse(ctx, token, expiresTooSoon(doing, granted.ExpiresAt, left))
	}
	if err := checkGranted(doing, g, granted); err != nil {
		return a.refuse(ctx, token, err)
	}
	token.Permissions, token.App = granted.Permissions, a.ID
	for _, r := range granted.Repositories {
		token.Repositories = append(token.Repositories, r.FullName)
		token.RepositoryIDs = append(token.RepositoryIDs, r.ID)
	}
	return Minted{Token: token, Narrower: compare(g, granted).narrower, All: granted.Selection == "all"}, nil
}

// refuse revokes a token that must not be used, and returns why.
func (a *App) refuse(ctx context.Context, token credential.Token, why error) (Minted, error) {
	if failed := a.RevokeUnused(ctx, token); failed != nil {
		return Minted{Unconfirmed: 1}, usererr.Join(why, failed)
	}
	return Minted{}, why
}

// expiresTooSoon returns the error for a new token that is about to expire.
func expiresTooSoon(doing string, end time.Time, left time.Duration) error {
	return &Error{Kind: Skewed, Op: doing, Message: fmt.Sprintf("the new token expires at %s, %s from now by GitHub's clock", end.UTC().Format(time.RFC3339), left.Round(time.Second))}
}

// minLife is less than the remaining life of any new token. A token with less is
// useless, and would look expired.
const minLife = time.Minute

// checkGranted returns an error if a granted token must not be used.
func checkGranted(doing string, g Grant, granted tokenAnswer) error {
	if wider := compare(g, granted).wider; len(wider) > 0 {
		return fmt.Errorf("%s: %w: %s; look for a proxy that changes requests, or ask GitHub's support", doing, ErrWider, strings.Join(wider, ", "))
	}
	for _, p := range g.Repositories.pins {
		i := slices.IndexFunc(granted.Repositories, func(r repository) bool { return r.ID == p.ID })
		if i >= 0 && p.Name != "" && gitname.Fold(granted.Repositories[i].Name) != gitname.Fold(p.Name) {
			return renamed("find "+p.String(), granted.Repositories[i].FullName)
		}
	}
	return nil
}

// difference describes how a granted token differs from the request.
type difference struct{ wider, narrower []string }

// compare compares an answer with the request. Repositories or permissions that the
// answer does not name count as wider: GitHub answers like that for a token of
// everything that was selected for an installation.
func compare(g Grant, granted tokenAnswer) difference {
	var d difference
	if granted.Permissions == nil && !g.Permissions.all {
		d.wider = append(d.wider, "permissions without names")
	}
	d.permissions(g.Permissions, granted.Permissions)
	d.repositories(g.Repositories, granted)
	return d
}

func (d *difference) permissions(asked Permissions, granted map[string]string) {
	if asked.all {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(granted)) {
		implied := name == "metadata" && granted[name] == "read" // GitHub adds this to every token
		if rank[granted[name]] > rank[asked.levels[name]] && !implied || rank[granted[name]] == 0 {
			d.wider = append(d.wider, name+": "+granted[name])
		}
	}
	lacking := Lacking(asked.levels, granted)
	for _, name := range slices.Sorted(maps.Keys(lacking)) {
		d.narrower = append(d.narrower, name+": "+lacking[name])
	}
}

func (d *difference) repositories(asked Repositories, granted tokenAnswer) {
	if asked.all {
		return
	}
	if granted.Selection != "selected" {
		d.wider = append(d.wider, "all repositories")
		return
	}
	if granted.Repositories == nil {
		d.wider = append(d.wider, "repositories without names")
		return
	}
	wanted := map[string]bool{}
	for _, name := range asked.names {
		wanted[gitname.Fold(name)] = true
	}
	for _, p := range asked.pins {
		wanted[fmt.Sprint(p.ID)] = true
	}
	for _, r := range granted.Repositories {
		key := gitname.Fold(r.Name)
		if len(asked.pins) > 0 {
			key = fmt.Sprint(r.ID)
		}
		if !wanted[key] {
			d.wider = append(d.wider, "repository "+r.FullName)
		}
		delete(wanted, key)
	}
	for _, missing := range slices.Sorted(maps.Keys(wanted)) {
		d.narrower = append(d.narrower, "repository "+missing)
	}
}

// GitHub's servers learn of a new token one after the other. For some seconds, a server
// that does not know it yet refuses it
// (https://github.com/octokit/auth-app.js/issues/65, 589).
const (
	readLag     = 5 * time.Second // a refused read is retried while the token is younger than this
	proofAge    = time.Minute     // from this age on, a 401 proves that GitHub does not know a token
	lagWait     = time.Second     // between two tries
	revokeTries = 6
	wrongClock  = time.Minute // if a token's issue time is further in the future than this, a clock is wrong
)

// mintedAt returns when a token was minted, by the same clock as its expiry.
func mintedAt(t credential.Token) time.Time { return t.Expiry.Add(-credential.Lifetime) }

// isYounger reports whether less than age has passed since then, by our clock or by
// GitHub's. A store's own date may be by either.
func isYounger(since time.Time, age time.Duration, now, theirs time.Time) bool {
	isYoung := func(passed time.Duration) bool { return passed > -wrongClock && passed < age }
	return isYoung(clock.Since(since, now)) || isYoung(theirs.Sub(since))
}

// mayLag reports whether a read may have been refused by a server that does not know
// its token yet.
func (cl client) mayLag(c call, e *Error) bool {
	isLag := slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, e.Status) && e.Kind != RateLimited && e.Kind != Suspended && e.Kind != NotListed
	return isLag && !c.minted.IsZero() && isYounger(c.minted, readLag, cl.now(), cl.time())
}

// revokedTokens are the tokens that GitHub said it revoked, as long as a 401 does not prove
// that.
type revokedTokens struct {
	mu    sync.Mutex // guards the rest
	at    map[[sha256.Size]byte]time.Time
	swept time.Time
}

func (e *revokedTokens) add(t credential.Token, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == nil {
		e.at = map[[sha256.Size]byte]time.Time{}
	}
	if clock.Since(e.swept, now) > proofAge { // seldom: otherwise revoking many tokens would go through the whole map for each
		e.swept = now
		maps.DeleteFunc(e.at, func(_ [sha256.Size]byte, at time.Time) bool { return clock.Since(at, now) > proofAge+wrongClock })
	}
	e.at[sha256.Sum256([]byte(t.Secret()))] = now
}

func (e *revokedTokens) has(t credential.Token) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, is := e.at[sha256.Sum256([]byte(t.Secret()))]
	return is
}

// Revoke revokes a token at once. A token that GitHub no longer knows counts as
// revoked, except if it is younger than a minute, because GitHub may not know it yet.
// Revoke then retries for some seconds (an App with Once does not) and returns an
// [*Error] of kind [BadToken]; the caller must keep the token and revoke it again
// later.
func (a *App) Revoke(ctx context.Context, t credential.Token) error {
	rest := a.rest()
	for try := 1; ; try++ {
		_, err := rest.do(ctx, call{
			doing: "revoke a token", method: http.MethodDelete, want: http.StatusNoContent,
			url: "/installation/token", token: t.Secret(),
		})
		if err == nil {
			a.revoked.add(t, a.now())
			return nil
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != http.StatusUnauthorized {
			return err
		}
		if a.revoked.has(t) || !isYounger(mintedAt(t), proofAge, a.now(), a.Time()) {
			return nil
		}
		if try == revokeTries || !rest.sleep(ctx, lagWait) {
			return e
		}
	}
}

// Accepts reports whether GitHub accepts a token. It asks for the token's rate limit, which
// costs no request of that limit. GitHub may not know a token younger than a minute: false
// then proves nothing.
func (a *App) Accepts(ctx context.Context, t credential.Token) (bool, error) {
	ask := read("ask whether a token is accepted", "/rate_limit")
	ask.token = t.Secret()
	_, err := a.rest().attempt(ctx, ask)
	e, ok := errors.AsType[*Error](err)
	switch {
	case ok && e.Status == http.StatusUnauthorized:
		return false, nil
	case ok && e.Status != 0 && e.Kind != Unavailable: // an Enterprise Server without rate limits answers 404
		return true, nil
	}
	return err == nil, err
}

// revokeWait limits one attempt to take a token back, and takeBackWait all of them.
const (
	revokeTimeout   = 10 * time.Second
	takeBackTimeout = proofAge + 2*revokeTimeout
)

// RevokeUnused is like Revoke, for a token that the caller stores nowhere. It also works if
// ctx has ended. If GitHub may not know the token yet, it retries until the answer is a
// proof, for at most a little more than a minute. An App with Once tries once and
// returns nil: it remembers the token, and [App.RevokePending] tries again.
func (a *App) RevokeUnused(ctx context.Context, t credential.Token) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTimeout)
	defer cancel()
	for {
		err := a.revokeWithin(ctx, t)
		if err != nil && a.Once {
			a.pending.add(t)
			return nil
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != BadToken || !a.rest().sleep(ctx, lagWait) {
			return err
		}
	}
}

func (a *App) revokeWithin(ctx context.Context, t credential.Token) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	return a.Revoke(ctx, t)
}

// pendingRevokes are the tokens that an App with Once could not take back yet. They are only in
// memory: after a restart they expire by themselves.
type pendingRevokes struct {
	mu     sync.Mutex // guards tokens
	tokens []credential.Token
}

func (o *pendingRevokes) add(tokens ...credential.Token) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens = append(o.tokens, tokens...)
}

// take empties it and returns the tokens.
func (o *pendingRevokes) take() []credential.Token {
	o.mu.Lock()
	defer o.mu.Unlock()
	tokens := o.tokens
	o.tokens = nil
	return tokens
}

// PendingRevokes returns the number of tokens of an App with Once that must not be used and are
// not revoked yet.
func (a *App) PendingRevokes() int {
	a.pending.mu.Lock()
	defer a.pending.mu.Unlock()
	return len(a.pending.tokens)
}

// RevokePending revokes the tokens that [App.RevokeUnused] could not revoke. It returns the joined
// errors of those that remain; the caller must call it again later. It forgets tokens
// that have expired.
func (a *App) RevokePending(ctx context.Context) error {
	var failed []error
	left := slices.DeleteFunc(a.pending.take(), func(t credential.Token) bool {
		if !t.Expiry.After(a.Time()) {
			return true
		}
		err := a.revokeWithin(ctx, t)
		failed = append(failed, err)
		return err == nil
	})
	a.pending.add(left...)
	return usererr.Join(failed...)
}
