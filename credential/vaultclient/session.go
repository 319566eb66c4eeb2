package vaultclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// settled is how old a login is before a denial makes another one worth trying:
// a role's policies change rarely, and each login leaves a token behind.
const settled = time.Minute

// A session is a Vault token and what is known of it. It does not change: a
// renewed token is another session.
type session struct {
	token     credential.Token // its Expiry is zero when unknown or never
	began     time.Time
	lifetime  time.Duration // when it began or was renewed last; 0 when unknown or endless
	renewable bool
	known     bool // what Vault says of its life has been read
}

// newSession is a token that Vault gave or extended at the time asked.
func newSession(a *auth, asked time.Time) *session {
	s := &session{began: asked, renewable: a.Renewable, known: true}
	s.live(a.ClientToken, a.LeaseDuration.duration(), asked)
	return s
}

// live notes a lifetime. Expiries are read by the wall clock, which goes on
// while a machine sleeps.
func (s *session) live(token string, lifetime time.Duration, asked time.Time) {
	s.lifetime = lifetime
	var end time.Time
	if lifetime > 0 {
		end = asked.Add(lifetime).Round(0)
	}
	s.token = credential.NewToken(token, end)
}

// left returns the part of its lifetime that a token still has: 1 for one
// without an end.
func (s *session) left() float64 {
	if s.token.Expiry.IsZero() {
		return 1
	}
	return float64(time.Until(s.token.Expiry)) / float64(s.lifetime)
}

// with is r as the session's token sends it.
func (s *session) with(r request) request {
	r.token = s.token.Secret()
	return r
}

// current returns a session that has a third of its life left, by reading what
// is given, renewing or logging in. A login that fails leaves the old session in
// use while that lives. The caller holds mu.
func (c *Client) current(ctx context.Context, l *link) (*session, error) {
	if c.login.given() {
		return c.readGiven(l)
	}
	s := c.session
	if s != nil && s.left() < 1./3 && s.left() > 0 {
		s = c.renew(ctx, l, s)
	}
	if s != nil && s.left() >= 1./3 {
		return s, nil
	}
	fresh, err := c.logIn(ctx, l)
	if err != nil && s != nil && s.left() > 0 {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	c.session = fresh
	return fresh, nil
}

// readGiven returns the session of the token that is given, which whoever gives
// it may replace at any time.
func (c *Client) readGiven(l *link) (*session, error) {
	token, err := c.login.token("get a token for " + l.where)
	if err != nil {
		return nil, err
	}
	if c.session == nil || c.session.token.Secret() != token {
		c.session = &session{token: credential.NewToken(token, time.Time{}), began: time.Now()}
	}
	return c.session, nil
}

func (c *Client) logIn(ctx context.Context, l *link) (*session, error) {
	what := "log in to " + l.where + " by " + c.login.method
	r, err := c.login.request(what)
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	answer, err := l.do(ctx, what, r)
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return nil, c.login.refused(what, refusal)
	}
	if err != nil {
		return nil, err
	}
	if answer.auth == nil || credential.CheckSecret(answer.auth.ClientToken) != nil {
		return nil, l.strange(what, "its answer holds no Vault token")
	}
	return newSession(answer.auth, asked), nil
}

// refused says what to do about a login that Vault does not accept.
func (l login) refused(what string, r *Refusal) error {
	mount := "auth/" + l.mount
	if r.Status == http.StatusNotFound {
		return usererr.New(what, "no login method is mounted at "+mount, "correct auth_mount, or namespace, in the URL")
	}
	why := "Vault does not accept the login" + r.Shown()
	if r.Status == http.StatusForbidden && r.Shown() == "" {
		why += ", or no login method is mounted at " + mount
	}
	do := "check that " + l.identity() + " of " + mount + " takes what is in " + l.jwtFile + ": audience, subject, expiry"
	if l.method == methodAppRole {
		do = "check role ID and secret ID (a secret ID can be used up or have expired); deliver a new one"
		if l.secretIDFile != "" {
			do += " to " + l.secretIDFile
		}
	}
	return usererr.New(what, why, do)
}

// renew extends a session and makes the outcome the current one: nil when Vault
// does not know its token any more. One attempt has to do: there is time for
// another one. The caller holds mu.
func (c *Client) renew(ctx context.Context, l *link, s *session) *session {
	if !s.renewable {
		return s
	}
	asked := time.Now()
	answer, err := l.attempt(ctx, "renew the token of "+l.where, s.with(request{method: http.MethodPost, path: "auth/token/renew-self", body: struct{}{}}))
	switch {
	case isDenied(err) && !c.login.given():
		c.session = nil
	case isDenied(err):
		final := *s
		final.renewable = false
		c.session = &final
	case err == nil && answer.auth != nil:
		c.session = s.renewed(answer.auth, asked)
	}
	return c.session
}

// renewed is s with a longer life. At the end of its longest life Vault grants
// less and less; measured by the full lifetime, it is then seen to wear out.
func (s *session) renewed(a *auth, asked time.Time) *session {
	next := *s
	next.renewable = a.Renewable
	next.live(s.token.Secret(), a.LeaseDuration.duration(), asked)
	next.lifetime = max(s.lifetime, next.lifetime)
	return &next
}

// instead returns another session to try after one was denied, or why there is
// none: denial itself, when it is about the policies.
func (c *Client) instead(ctx context.Context, what string, l *link, s *session, denial error) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := l.do(ctx, what, s.with(request{method: http.MethodGet, path: "auth/token/lookup-self"}))
	alive := !isDenied(err)
	if alive && (c.login.given() || time.Since(s.began) < settled) {
		return nil, denial
	}
	if c.session != nil && c.session.token.Secret() == s.token.Secret() {
		c.session = nil
	}
	fresh, err := c.current(ctx, l)
	if err != nil {
		return nil, err
	}
	if fresh.token.Secret() == s.token.Secret() {
		return nil, usererr.New(what, "Vault does not know "+c.login.identity()+": it has expired, was revoked or is another Vault's",
			"put a fresh one there (vault login, vault token create)")
	}
	return fresh, nil
}

// Upkeep renews a Vault token that is half used up, so that it lives as long as
// it may. Nothing is asked before the first Read. It is to be called from time
// to time; failures show in the next Read.
func (c *Client) Upkeep(ctx context.Context) {
	if !c.mu.TryLock() {
		return // a login is under way
	}
	defer c.mu.Unlock()
	s, l := c.session, c.link
	if s == nil || l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, httpclient.AttemptWait)
	defer cancel()
	if !s.known {
		s = c.lookUp(ctx, l, s)
	}
	if left := s.left(); left < 0.5 && left > 0 {
		c.renew(ctx, l, s)
	}
}

// lookUp asks how long a given token lives, and makes the outcome the current
// session. The caller holds mu.
func (c *Client) lookUp(ctx context.Context, l *link, s *session) *session {
	asked := time.Now()
	answer, err := l.attempt(ctx, "look up the token of "+l.where, s.with(request{method: http.MethodGet, path: "auth/token/lookup-self"}))
	if _, refused := errors.AsType[*Refusal](err); err != nil && !refused {
		return s
	}
	next := *s
	next.known = true
	var ttl seconds
	if err == nil && json.Unmarshal(answer.Data["ttl"], &ttl) == nil && json.Unmarshal(answer.Data["renewable"], &next.renewable) == nil {
		next.live(s.token.Secret(), ttl.duration(), asked)
	}
	c.session = &next
	return &next
}

// Deadline returns when the data of a lease ends with the Vault token that
// fetched it: zero when that is renewed in time, lives on or is unknown.
func (c *Client) Deadline() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || c.session.renewable {
		return time.Time{}
	}
	return c.session.token.Expiry
}
