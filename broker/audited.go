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

	// Who: the workspace, and the identity that its caller proved.
	Workspace string            `json:"workspace,omitempty"`
	Method    string            `json:"method,omitempty"`
	Subject   string            `json:"subject,omitempty"`
	Claims    map[string]string `json:"claims,omitempty"` // those that the rule checked
	Rule      string            `json:"rule,omitempty"`
	Policy    string            `json:"policy,omitempty"` // its hash
	Remote    string            `json:"remote,omitempty"` // address of the peer

	// What.
	Target     string `json:"target,omitempty"` // what an operator acted on
	Host       string `json:"host,omitempty"`
	Repository string `json:"repository,omitempty"`
	// RepositoryID is GitHub's id: the token's repository, or before there is a token
	// the id that the repository must have.
	RepositoryID int64             `json:"repository_id,omitempty"`
	Ref          string            `json:"ref,omitempty"` // the full name, of a push
	Old          string            `json:"old,omitempty"` // the ref's old value, according to the client; zeros if the ref is new
	New          string            `json:"new,omitempty"` // the ref's new value; zeros if it is deleted
	Operation    string            `json:"operation,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`

	// With what result.
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
	// Repeated counts the workspace's earlier refusals for asking too often that got no
	// line of their own.
	Repeated int `json:"repeated,omitempty"`
	// Unseen counts tokens that GitHub may have made although its answer did not
	// arrive. They live for an hour, and no one has their text.
	Unseen int `json:"unseen,omitempty"`
}

// The kinds of entries.
const (
	KindRequest   = "request"       // the broker answered a request
	KindIntent    = "intent"        // GitHub is about to be asked for a token
	KindMinted    = "minted"        // GitHub's answer to that
	KindRevoked   = "revoked"       // a token was revoked
	KindBlocked   = "barred"        // an operator blocked a workspace, an account or the App
	KindUnblocked = "admitted"      // an operator unblocked one
	KindLogin     = "login"         // a login to the status page, granted or refused
	KindGitHub    = "github"        // GitHub's webhook reported a change
	KindExchange  = "exchange"      // a join token or a session was exchanged for a session; without a decision, it is about to be
	KindReported  = "reported-push" // a workspace reports that its guard refused a push; the broker decided nothing
	KindSession   = "session"       // a session of the git gateway was given or refused
	KindPush      = "push"          // a push through the gateway: one entry before it is forwarded, and one for each ref after
	KindFetch     = "fetch"         // a fetch through the gateway
	KindAPI       = "api"           // a request to GitHub's API through the gateway
	KindLFS       = "lfs"           // a transfer of large files through the gateway
	KindConfig    = "config"        // a new policy is in force
)

// The outcomes of forwarded requests, as GitHub reported them.
const (
	OutcomeOK      = "ok"      // GitHub did it
	OutcomeRefused = "refused" // GitHub, or the broker, refused it
	OutcomeFailed  = "failed"  // it started and did not end
	OutcomeUnknown = "unknown" // GitHub did not say, or its answer is unreadable
)

// The decisions.
const (
	Granted = "granted"
	Refused = "refused"
)

// A Journal is the audit log. The broker gives nothing for a request unless Write
// succeeded.
type Journal interface {
	// Write writes an entry. With durable, it returns after the entry is on disk.
	Write(ctx context.Context, e Entry, durable bool) error
}

// audited writes every decision into the journal before it is answered. If that fails,
// it answers a refusal instead. Of a workspace's refusals for asking too often, it
// writes one a second, with the number of those before.
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

// Entry returns an audit entry about an action of the workspace; the caller fills in
// the rest.
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

// journaled writes to disk that GitHub is about to be asked, and afterwards the result.
// If the broker dies between the two, the log still says that a token may be alive. If
// the result cannot be written, it revokes the token.
func journaled(j Journal, now func() time.Time, revoke func(context.Context, credential.Token) error, next MintFunc) MintFunc {
	return func(ctx context.Context, s Scope) (mint.Minted, error) {
		e := Entry{Time: now().UTC(), Kind: KindIntent, Repository: s.Repo.String(), RepositoryID: s.RepositoryID(), Permissions: s.Permissions()}
		if err := j.Write(ctx, e, true); err != nil {
			return mint.Minted{}, AuditUnavailable(err)
		}
		m, err := next(ctx, s)
		e.Time, e.Kind, e.Unseen = now().UTC(), KindMinted, unseen(m, err)
		if !m.Token.IsZero() {
			e.Hash, e.Expires, e.RepositoryID = m.Token.Hash(), m.Token.Expiry.UTC(), repositoryOf(m.Token, s.RepositoryID())
			e.App, e.Detail = m.Token.App, usererr.Cut(m.Instead, maxDetail)
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

// repositoryOf returns the id of the token's repository as GitHub gave it, or else
// otherwise.
func repositoryOf(t credential.Token, otherwise int64) int64 {
	if len(t.RepositoryIDs) == 1 {
		return t.RepositoryIDs[0]
	}
	return otherwise
}

// unseen counts the tokens that may be alive although their text did not arrive.
func unseen(m mint.Minted, err error) int {
	if failure, ok := errors.AsType[*mint.Error](err); ok {
		return max(failure.Unseen, m.Unconfirmed)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return 1 // GitHub may have been asked, but the broker did not wait for the answer
	}
	return m.Unconfirmed
}

// repeatEvery is how often a workspace's refusals for asking too often are written.
const repeatEvery = time.Second

// repeats limits the entries about refusals for asking too often: one a second for each
// workspace, with the number of those before. Otherwise one workspace could fill the
// disk, which stops the broker for everyone.
type repeats struct {
	mu    sync.Mutex // guards the rest
	of    map[string]repeated
	swept time.Time
}

type repeated struct {
	written time.Time
	since   int // refusals that were not written
}

// written reports whether a decision is to be written, and how many refusals were left
// out before it. Only refusals for asking too often (isLimit) are ever left out.
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

// sweep removes workspaces that have not been refused for sweepEvery. The caller holds
// mu.
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
