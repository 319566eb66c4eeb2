package identity

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/store"
)

// An Exchanger exchanges join tokens for sessions, and sessions that expire soon for new
// ones. All fields except the last three must be set.
//
// A join token has 256 random bits and belongs to one workspace and one rule. The store knows
// its hash only. It expires after ten minutes at most. It can be used once, at one replica:
// the request that creates the entry [store.Redeemed] gets the session. Every other use is
// recorded, because one of the two users is an impostor. If a broker dies after it created
// the entry and before it answered, the token is used up and the workspace needs another one.
type Exchanger struct {
	Sessions *SessionIdentifier // the one that the policy's rules use
	Store    store.Store
	Policy   func() *broker.Policy
	Blocker  broker.Blocker
	Journal  broker.Journal

	// ChargeUnauth counts a failed exchange, and refuses the client beyond its limit; that
	// refusal is not recorded. UnauthExceeded refuses such a client before the store is read.
	// nil refuses no one.
	ChargeUnauth, UnauthExceeded func(*http.Request) error
	// Workspaces limits the exchanges of each workspace; nil sets no limit.
	Workspaces *broker.Limiter

	bodies broker.BodyLimiter
}

// Endpoint serves POST /v1/exchange.
func (d *Exchanger) Endpoint() broker.Endpoint {
	return broker.Endpoint{Name: "exchange", Serve: d.serve}
}

func (d *Exchanger) serve(w http.ResponseWriter, r *http.Request, id string) error {
	request, err := d.read(w, r)
	if err != nil {
		return err
	}
	e := broker.Entry{Time: d.Sessions.now().UTC(), Kind: broker.KindExchange, RequestID: id, Remote: r.RemoteAddr, Method: JoinMethod}
	var answer api.SessionAnswer
	if text := request.JoinToken.Reveal(); text != "" {
		answer, err = d.redeem(r, &e, text)
	} else {
		answer, err = d.renew(r, &e)
	}
	if err != nil && d.ChargeUnauth != nil {
		if tooMany := d.ChargeUnauth(r); tooMany != nil {
			return tooMany
		}
	}
	if err := d.write(r.Context(), &e, err); err != nil {
		return err
	}
	return api.WriteSession(w, answer)
}

func (d *Exchanger) read(w http.ResponseWriter, r *http.Request) (request api.ExchangeRequest, err error) {
	err = d.bodies.Read(w, fairshare.Address(r.RemoteAddr), api.MaxRequest, func() error {
		request, err = api.ExchangeCall.Read(w, r)
		return err
	})
	return request, err
}

// write records the outcome and returns the answer: a session that is not recorded is not
// given.
func (d *Exchanger) write(ctx context.Context, e *broker.Entry, err error) error {
	e.Decision = broker.Granted
	if err != nil {
		e.Decision, e.Reason, e.Detail = broker.Refused, broker.ReasonInternal, "" // unless err is a Refusal
		if refusal, ok := errors.AsType[*broker.Refusal](err); ok {
			e.Reason, e.Detail = refusal.Reason, refusal.Detail
		}
	}
	isDurable := err == nil || e.Reason == broker.ReasonReplay || e.Reason == broker.ReasonCopied
	if writeErr := d.Journal.Write(context.WithoutCancel(ctx), *e, isDurable); writeErr != nil {
		return soon(broker.AuditUnavailable(errors.Join(err, writeErr)))
	}
	return err
}

// soon shortens Retry-After for a workspace that is joining and can only wait.
func soon(r *broker.Refusal) *broker.Refusal {
	r.RetryAfter = retryAfter
	return r
}

func refused(status int, reason, detail string) error {
	return &broker.Refusal{Status: status, Reason: reason, Detail: detail}
}

// redeem gives a session for a join token. Every check that can refuse comes before the token
// is marked used.
func (d *Exchanger) redeem(r *http.Request, e *broker.Entry, text string) (api.SessionAnswer, error) {
	token, err := ParseJoinToken(text)
	if err != nil {
		return api.SessionAnswer{}, refused(http.StatusBadRequest, broker.ReasonRequest, err.Error())
	}
	hash := token.Hash()
	s := session{Join: hex.EncodeToString(hash[:8]), link: newLink()}
	e.Subject, e.Claims = "join token "+s.Join, map[string]string{"join": s.Join}
	if d.UnauthExceeded != nil {
		if err := d.UnauthExceeded(r); err != nil {
			return api.SessionAnswer{}, err
		}
	}
	kept, err := d.find(r.Context(), hash)
	if err != nil {
		return api.SessionAnswer{}, err
	}
	s.Workspace, s.Rule = kept.Workspace, kept.Rule
	e.Workspace, e.Rule = s.Workspace, s.Rule
	answer, _, err := d.begin(r, e, s)
	if err != nil {
		return api.SessionAnswer{}, err
	}
	if err := d.count(s.Workspace); err != nil {
		return api.SessionAnswer{}, err
	}
	if err := d.Journal.Write(context.WithoutCancel(r.Context()), *e, true); err != nil {
		return api.SessionAnswer{}, soon(broker.AuditUnavailable(err))
	}
	if err := d.markUsed(r.Context(), hash, kept.Expires); err != nil {
		return api.SessionAnswer{}, err
	}
	return answer, nil
}

// count limits exchanges before anything of them is recorded.
func (d *Exchanger) count(workspace string) error {
	if d.Workspaces == nil {
		return nil
	}
	return d.Workspaces.Count(workspace)
}

// find returns the record of a join token that has not expired.
func (d *Exchanger) find(ctx context.Context, hash [32]byte) (record, error) {
	kept, err := load(ctx, d.Store, hash)
	left := kept.Expires.Sub(d.Sessions.now())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return record{}, refused(http.StatusUnauthorized, broker.ReasonIdentity, "this broker does not know the join token, or it expired long ago")
	case err != nil:
		return record{}, soon(broker.StoreUnavailable(err))
	case left <= 0:
		return kept, refused(http.StatusUnauthorized, broker.ReasonIdentity, "the join token has expired; create another")
	case left > MaxJoinTTL+time.Minute: // not from IssueJoinToken
		return kept, refused(http.StatusUnauthorized, broker.ReasonIdentity, "the join token is valid for too long")
	}
	return kept, nil
}

// begin makes a session and resolves it by the policy, as its first request will be.
func (d *Exchanger) begin(r *http.Request, e *broker.Entry, s session) (api.SessionAnswer, broker.Workspace, error) {
	text, expires, err := d.Sessions.seal(r.Context(), s)
	if err != nil {
		return api.SessionAnswer{}, broker.Workspace{}, err
	}
	first := r.Clone(r.Context())
	first.Header.Set("Authorization", "Bearer "+text)
	w, err := d.resolve(first, e)
	if err != nil {
		return api.SessionAnswer{}, broker.Workspace{}, err
	}
	return api.SessionAnswer{Session: api.NewSecret(text), ExpiresAt: expires, Workspace: w.ID}, w, nil
}

// resolve returns the workspace of a request with a session, unless it is blocked.
func (d *Exchanger) resolve(r *http.Request, e *broker.Entry) (broker.Workspace, error) {
	policy := d.Policy()
	e.Policy = policy.Hash
	w, err := policy.Resolve(r.Context(), r)
	if err != nil {
		return broker.Workspace{}, err
	}
	if w.Caller.Method != JoinMethod {
		return broker.Workspace{}, refused(http.StatusUnauthorized, broker.ReasonIdentity, "another rule of the broker matches this caller; only a session can be exchanged for a session")
	}
	e.Workspace, e.Rule, e.Subject = w.ID, w.Rule, w.Caller.Subject
	if from, ok := w.Caller.Claim("join"); ok {
		e.Claims = map[string]string{"join": from}
	}
	blocked, err := d.Blocker.Blocked(r.Context(), w.ID)
	if err != nil {
		return broker.Workspace{}, soon(broker.StoreUnavailable(err))
	}
	if blocked {
		return broker.Workspace{}, refused(http.StatusForbidden, broker.ReasonBlocked, "workspace "+w.ID+" is blocked")
	}
	return w, nil
}

// markUsed succeeds for exactly one of all requests with the token.
func (d *Exchanger) markUsed(ctx context.Context, hash [32]byte, until time.Time) error {
	won, err := store.Claim(ctx, d.Store, store.Redeemed(hash), until)
	switch {
	case err != nil:
		return &broker.Refusal{
			Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, Err: err, RetryAfter: retryAfter,
			Detail: "the broker's store did not answer; the join token may be used up",
		}
	case !won:
		return refused(http.StatusForbidden, broker.ReasonReplay, "the join token was used already; if this workspace did not use it, it was stolen")
	}
	return nil
}

// renew gives a session for the one in the request. That may have expired, if its rule lets
// workspaces sleep.
func (d *Exchanger) renew(r *http.Request, e *broker.Entry) (api.SessionAnswer, error) {
	shown := api.Bearer(r)
	if !strings.HasPrefix(shown, SessionPrefix) {
		if _, err := d.resolve(r, e); err != nil {
			return api.SessionAnswer{}, err
		}
	}
	s, err := d.Sessions.read(r.Context(), shown)
	if _, ok := errors.AsType[*broker.Refusal](err); err != nil && !ok {
		err = refused(http.StatusUnauthorized, broker.ReasonIdentity, err.Error())
	}
	if err != nil {
		return api.SessionAnswer{}, err
	}
	answer, w, err := d.begin(r, e, s)
	if err != nil {
		return api.SessionAnswer{}, err
	}
	now := d.Sessions.now()
	if err := slept(now.Sub(time.Unix(s.Expires, 0)), w.Sleep); err != nil {
		return api.SessionAnswer{}, err
	}
	if err := d.count(w.ID); err != nil {
		return api.SessionAnswer{}, err
	}
	s.link, err = Renewals{d.Store}.Next(r.Context(), s.link, api.AttemptKey(r), now, answer.ExpiresAt.Add(w.Sleep))
	if err != nil {
		return api.SessionAnswer{}, err
	}
	text, expires, err := d.Sessions.seal(r.Context(), s)
	if err != nil {
		return api.SessionAnswer{}, err
	}
	return api.SessionAnswer{Session: api.NewSecret(text), ExpiresAt: expires, Workspace: w.ID}, nil
}

// slept refuses a session that expired longer ago than its rule allows.
func slept(ago, atMost time.Duration) error {
	switch {
	case ago < 0 || ago < atMost:
		return nil
	case atMost == 0:
		return refused(http.StatusUnauthorized, broker.ReasonIdentity, "the session has expired; begin another with a new join token. For workspaces that sleep, set join: {sleep: 12h} in the broker's rule")
	}
	return refused(http.StatusUnauthorized, broker.ReasonIdentity, "the session expired "+ago.Round(time.Second).String()+" ago; the broker's rule lets a workspace sleep for at most "+atMost.String()+"; begin another with a new join token")
}
