package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// An Entry is one line of the audit log. It contains no secret.
type Entry struct {
	Time      time.Time `json:"time"`
	Kind      string    `json:"kind"` // one of the Kind constants
	RequestID string    `json:"request_id,omitempty"`

	// Who: the workspace and its identity.
	Workspace string            `json:"workspace,omitempty"`
	Method    string            `json:"method,omitempty"`
	Subject   string            `json:"subject,omitempty"`
	Claims    map[string]string `json:"claims,omitempty"` // those that the rule read
	Rule      string            `json:"rule,omitempty"`
	Policy    string            `json:"policy,omitempty"` // its hash
	Remote    string            `json:"remote,omitempty"` // address of the peer

	// What.
	Target     string `json:"target,omitempty"` // what an operator acted on
	Host       string `json:"host,omitempty"`
	Repository string `json:"repository,omitempty"`
	// RepositoryID is GitHub's ID: of the token's repository, or the required one if there is
	// no token yet.
	RepositoryID int64             `json:"repository_id,omitempty"`
	Ref          string            `json:"ref,omitempty"` // the full name, of a push
	Old          string            `json:"old,omitempty"` // the ref's old value, according to the client; zeros if the ref is new
	New          string            `json:"new,omitempty"` // the ref's new value; zeros if it is deleted
	Operation    string            `json:"operation,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`

	// The outcome.
	Decision string    `json:"decision,omitempty"` // "granted" or "refused"
	Reason   string    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Outcome  string    `json:"outcome,omitempty"`      // of a forwarded request: one of the Outcome constants
	Objects  int       `json:"objects,omitempty"`      // number of objects in a Git LFS batch
	Bytes    int64     `json:"bytes,omitempty"`        // moved by a transfer, in both directions
	App      string    `json:"app,omitempty"`          // client ID of the App that minted the token
	Hash     string    `json:"hashed_token,omitempty"` // base64(sha256(token)), as in GitHub's audit log
	Expires  time.Time `json:"expires_at,omitzero"`
	Cached   bool      `json:"cached,omitempty"`
	// Repeated counts earlier refusals of the workspace for too many requests that have no
	// line of their own.
	Repeated int `json:"repeated,omitempty"`
	// Unconfirmed counts tokens that GitHub may have minted although its answer did not arrive.
	// They expire after an hour, and their text is unknown.
	Unconfirmed int `json:"unseen,omitempty"`
}

// The kinds of entries.
const (
	KindRequest   = "request"       // the broker answered a request
	KindIntent    = "intent"        // GitHub is about to be asked for a token
	KindMinted    = "minted"        // GitHub minted a token, or refused
	KindRevoked   = "revoked"       // a token was revoked
	KindBlocked   = "barred"        // an operator blocked a workspace, an account or the App
	KindUnblocked = "admitted"      // an operator unblocked one
	KindLogin     = "login"         // an operator signed in to the page, or failed to
	KindGitHub    = "github"        // a webhook of GitHub reported a change
	KindExchange  = "exchange"      // a join token or a session was exchanged for a session; without a decision: is about to be
	KindReported  = "reported-push" // a workspace reports that its guard refused a push
	KindSession   = "session"       // a session of the git gateway was requested
	KindPush      = "push"          // a push through the gateway: one entry before it is forwarded, and one for each ref after
	KindFetch     = "fetch"         // a fetch through the gateway
	KindAPI       = "api"           // a request to GitHub's API through the gateway
	KindLFS       = "lfs"           // a transfer of large files through the gateway
	KindConfig    = "config"        // a new generation of the policy is in force
)

// The outcomes of forwarded requests, as GitHub reported them.
const (
	OutcomeOK      = "ok"      // GitHub did it
	OutcomeRefused = "refused" // GitHub, or the broker, refused it
	OutcomeFailed  = "failed"  // it was started and not completed
	OutcomeUnknown = "unknown" // GitHub's answer is missing or unreadable
)

// The decisions.
const (
	Granted = "granted"
	Refused = "refused"
)

// A Journal is the audit log. When Write returns nil, the entry is recorded. If it cannot be
// recorded, the request is refused.
type Journal interface {
	// Write records an entry. If durable is set, it is on disk when Write returns.
	Write(ctx context.Context, e Entry, durable bool) error
}

// audited records every decision before the caller gets the answer. Refusals for too many
// requests are recorded once a second per workspace, with their number.
func audited(j Journal, now func() time.Time, next Vendor) Vendor {
	var often repeats
	return func(ctx context.Context, w Workspace, r api.TokenRequest) (Grant, error) {
		g, err := next(ctx, w, r)
		e := requestEntry(now(), w, r)
		if err == nil {
			e.Decision, e.Hash, e.Expires, e.Cached = Granted, g.Token.Hash(), g.Token.Expiry.UTC(), g.Cached
			e.RepositoryID, e.Permissions, e.App = repositoryOf(g.Token, r.RepositoryID), g.Scope.Permissions(), g.Token.App
		} else {
			refusal := RefusalOf(err)
			e.Decision, e.Reason, e.Detail = Refused, refusal.Reason, refusal.Detail
		}
		var isWritten bool
		if e.Repeated, isWritten = often.written(w.ID, e.Reason == ReasonLimit, e.Time); !isWritten {
			return g, err
		}
		if writeErr := j.Write(context.WithoutCancel(ctx), e, false); writeErr != nil {
			return Grant{}, AuditUnavailable(errors.Join(err, writeErr))
		}
		return g, err
	}
}

// Entry returns an audit entry of that kind about the workspace.
func (w Workspace) Entry(kind string, now time.Time) Entry {
	e := requestEntry(now, w, api.TokenRequest{})
	e.Kind, e.Repository = kind, ""
	return e
}

func requestEntry(now time.Time, w Workspace, r api.TokenRequest) Entry {
	e := Entry{
		Time: now.UTC(), Kind: KindRequest, RequestID: w.RequestID, Workspace: w.ID, Method: w.Caller.Method, Subject: usererr.Cut(w.Caller.Subject, maxDetail), Claims: w.Claims, Rule: w.Rule,
		Host: r.Host, Repository: r.Repo.String(), RepositoryID: r.RepositoryID, Operation: r.Operation, Permissions: r.Permissions,
	}
	if w.Policy != nil {
		e.Policy = w.Policy.Hash
	}
	return e
}

// journaled records on disk that GitHub is about to be asked, and the outcome afterwards. If
// the broker is killed in between, the log shows that a token may exist. A token whose
// outcome cannot be recorded is revoked.
func journaled(j Journal, now func() time.Time, revoke func(context.Context, credential.Token) error, next MintFunc) MintFunc {
	return func(ctx context.Context, s Scope) (mint.Minted, error) {
		e := Entry{Time: now().UTC(), Kind: KindIntent, Repository: s.Repo.String(), RepositoryID: s.RepositoryID(), Permissions: s.Permissions()}
		if err := j.Write(ctx, e, true); err != nil {
			return mint.Minted{}, AuditUnavailable(err)
		}
		m, err := next(ctx, s)
		e.Time, e.Kind, e.Unconfirmed = now().UTC(), KindMinted, unconfirmed(m, err)
		if !m.Token.IsZero() {
			e.Hash, e.Expires, e.RepositoryID = m.Token.Hash(), m.Token.Expiry.UTC(), repositoryOf(m.Token, s.RepositoryID())
			e.App, e.Detail = m.Token.App, usererr.Cut(m.FallbackReason, maxDetail)
		}
		if err != nil {
			r := RefusalOf(err)
			e.Decision, e.Reason, e.Detail = Refused, r.Reason, r.Detail
			if !m.Token.IsZero() { // it was minted, but differs from what was asked for
				err = errors.Join(err, revoke(context.WithoutCancel(ctx), m.Token))
			}
		} else {
			e.Decision = Granted
		}
		if writeErr := j.Write(context.WithoutCancel(ctx), e, true); writeErr != nil && err == nil {
			return mint.Minted{}, AuditUnavailable(errors.Join(writeErr, revoke(context.WithoutCancel(ctx), m.Token)))
		}
		return m, err
	}
}

// repositoryOf returns the repository ID that GitHub reported for the token, or
// otherwise if GitHub did not report exactly one.
func repositoryOf(t credential.Token, otherwise int64) int64 {
	if len(t.RepositoryIDs) == 1 {
		return t.RepositoryIDs[0]
	}
	return otherwise
}

// unconfirmed counts the tokens that GitHub may have minted and that did not arrive.
func unconfirmed(m mint.Minted, err error) int {
	if failure, ok := errors.AsType[*mint.Error](err); ok {
		return max(failure.Unconfirmed, m.Unconfirmed)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return 1 // GitHub may have been asked, but the broker did not wait for the answer
	}
	return m.Unconfirmed
}

// repeatEvery is the time between two recorded refusals of one workspace for too many
// requests.
const repeatEvery = time.Second

// repeats counts refusals for too many requests, so that a workspace cannot fill the disk
// with them and so stop every other one. One a second is recorded, with the number of the
// others.
type repeats struct {
	mu    sync.Mutex // guards the rest
	of    map[string]repeated
	swept time.Time
}

type repeated struct {
	written time.Time
	since   int // refused and not recorded
}

// written reports whether to record a refusal, and how many were not recorded since the last
// one. Refusals for other reasons are always recorded.
func (r *repeats) written(workspace string, isLimit bool, now time.Time) (since int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.of[workspace]
	if isLimit && now.Sub(last.written) < repeatEvery && !now.Before(last.written) {
		last.since++
		r.of[workspace] = last
		return 0, false
	}
	if !isLimit {
		if last.since > 0 {
			r.of[workspace] = repeated{written: last.written}
		}
		return last.since, true
	}
	r.sweep(now)
	r.of[workspace] = repeated{written: now}
	return last.since, true
}

// sweep removes workspaces that are no longer refused. The caller holds mu.
func (r *repeats) sweep(now time.Time) {
	if r.of == nil {
		r.of = map[string]repeated{}
	}
	if now.Sub(r.swept) < sweepEvery {
		return
	}
	r.swept = now
	for id, last := range r.of {
		if now.Sub(last.written) >= sweepEvery {
			delete(r.of, id)
		}
	}
}
