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

// reloginAfter is the age of a login after which a denial justifies a new login: a role's
// policies change rarely, and each login leaves a token behind.
const reloginAfter = time.Minute

// A session is a Vault token and its known state. It does not change: a renewed token
// is another session.
type session struct {
	token     credential.Token // its Expiry is zero if unknown or never
	began     time.Time
	lifetime  time.Duration // at its start or latest renewal; 0 if unknown or unlimited
	renewable bool
	known     bool // its lifetime was read from Vault
}

// newSession returns the session of a token that Vault gave or extended at the time
// asked.
func newSession(a *auth, asked time.Time) *session {
	s := &session{began: asked, renewable: a.Renewable, known: true}
	s.live(a.ClientToken, a.LeaseDuration.duration(), asked)
	return s
}

// live sets the token with its lifetime. Expiries follow the wall clock, which goes on
// while a machine sleeps.
func (s *session) live(token string, lifetime time.Duration, asked time.Time) {
	s.lifetime = lifetime
	var end time.Time
	if lifetime > 0 {
		end = asked.Add(lifetime).Round(0)
	}
	s.token = credential.NewToken(token, end)
}

// left returns the part of its lifetime that a token still has; 1 for a token without
// an expiry.
func (s *session) left() float64 {
	if s.token.Expiry.IsZero() {
		return 1
	}
	return float64(time.Until(s.token.Expiry)) / float64(s.lifetime)
}

// with returns r with the session's token.
func (s *session) with(r request) request {
	r.token = s.token.Secret()
	return r
}

// current returns a session with at least a third of its lifetime left, by reading the
// given token, renewing or logging in. If a login fails, it returns the old session as
// long as that lives. The caller holds mu.
func (c *Client) current(ctx context.Context, l *link) (*session, error) {
	if c.login.isGiven() {
		return c.readGivenToken(l)
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

// readGivenToken returns the session of the given token, which may be replaced at any time.
func (c *Client) readGivenToken(l *link) (*session, error) {
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
		return nil, l.unexpectedAnswer(what, "its answer has no Vault token")
	}
	return newSession(answer.auth, asked), nil
}

// refused returns an error that says what to do about a login that Vault refuses.
func (l login) refused(what string, r *Refusal) error {
	mount := "auth/" + l.mount
	if r.Status == http.StatusNotFound {
		return usererr.New(what, "no login method is mounted at "+mount, "correct auth_mount, or namespace, in the URL")
	}
	why := "Vault does not accept the login" + r.Shown()
	if r.Status == http.StatusForbidden && r.Shown() == "" {
		why += ", or no login method is mounted at " + mount
	}
	do := "check that " + l.identity() + " of " + mount + " accepts the token in " + l.jwtFile + ": audience, subject, expiry"
	if l.method == methodAppRole {
		do = "check role ID and secret ID (a secret ID expires and has a limited number of uses); deliver a new one"
		if l.secretIDFile != "" {
			do += " to " + l.secretIDFile
		}
	}
	return usererr.New(what, why, do)
}

// renew extends a session and makes the result the current one: nil if Vault no longer
// knows its token. It makes only one attempt, because there is time for another one
// later. The caller holds mu.
func (c *Client) renew(ctx context.Context, l *link, s *session) *session {
	if !s.renewable {
		return s
	}
	asked := time.Now()
	answer, err := l.attempt(ctx, "renew the token of "+l.where, s.with(request{method: http.MethodPost, path: "auth/token/renew-self", body: struct{}{}}))
	switch {
	case isDenied(err) && !c.login.isGiven():
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

// renewed returns s with a longer life. Near the end of the token's maximum life, Vault
// grants less and less. The lifetime stays the longest one, so that left then shows
// that the token is wearing out.
func (s *session) renewed(a *auth, asked time.Time) *session {
	next := *s
	next.renewable = a.Renewable
	next.live(s.token.Secret(), a.LeaseDuration.duration(), asked)
	next.lifetime = max(s.lifetime, next.lifetime)
	return &next
}

// instead returns another session to try after s was denied. If there is none, it
// returns the reason; that is denial itself if the denial is about the policies.
func (c *Client) instead(ctx context.Context, what string, l *link, s *session, denial error) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := l.do(ctx, what, s.with(request{method: http.MethodGet, path: "auth/token/lookup-self"}))
	alive := !isDenied(err)
	if alive && (c.login.isGiven() || time.Since(s.began) < reloginAfter) {
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
		return nil, usererr.New(what, "Vault does not know "+c.login.identity()+": it expired, was revoked, or belongs to another Vault",
			"put a fresh one there (vault login, vault token create)")
	}
	return fresh, nil
}

// Upkeep renews a Vault token that has used up half of its lifetime, so that it lives
// as long as possible. It does nothing before the first Read. Call it from time to
// time; the next Read reports failures.
func (c *Client) Upkeep(ctx context.Context) {
	if !c.mu.TryLock() {
		return // a login is running
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

// lookUp asks for the lifetime of the given token, and makes the result the current
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

// Deadline returns when leased data ends because the Vault token that fetched it
// expires. It is zero if that token is renewed in time, does not expire, or its expiry
// is unknown.
func (c *Client) Deadline() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || c.session.renewable {
		return time.Time{}
	}
	return c.session.token.Expiry
}
