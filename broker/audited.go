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

// An Entry is one line of the audit log. It holds no secret.
type Entry struct {
	Time      time.Time `json:"time"`
	Kind      string    `json:"kind"` // one of the Kind constants
	RequestID string    `json:"request_id,omitempty"`

	// Who: the workspace, and what its identity is made of.
	Workspace string            `json:"workspace,omitempty"`
	Method    string            `json:"method,omitempty"`
	Subject   string            `json:"subject,omitempty"`
	Claims    map[string]string `json:"claims,omitempty"` // those that the rule looked at
	Rule      string            `json:"rule,omitempty"`
	Policy    string            `json:"policy,omitempty"` // its hash
	Remote    string            `json:"remote,omitempty"` // address of the peer

	// What.
	Target     string `json:"target,omitempty"` // of what an operator did
	Host       string `json:"host,omitempty"`
	Repository string `json:"repository,omitempty"`
	// RepositoryID is GitHub's, of a token that was given, or that has to be
	// given where there is none yet.
	RepositoryID int64             `json:"repository_id,omitempty"`
	Ref          string            `json:"ref,omitempty"` // in full, of a push
	Old          string            `json:"old,omitempty"` // what the ref named, as the client said; zeros for nothing
	New          string            `json:"new,omitempty"` // what it is to name; zeros for nothing
	Operation    string            `json:"operation,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`

	// With which outcome.
	Decision string    `json:"decision,omitempty"` // "granted" or "refused"
	Reason   string    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Outcome  string    `json:"outcome,omitempty"`      // of what was forwarded: one of the Outcome constants
	Objects  int       `json:"objects,omitempty"`      // of a batch of Git LFS
	Bytes    int64     `json:"bytes,omitempty"`        // that a transfer moved, both ways
	App      string    `json:"app,omitempty"`          // client ID of the App that minted the token
	Hash     string    `json:"hashed_token,omitempty"` // base64(sha256(token)), as in GitHub's audit log
	Expires  time.Time `json:"expires_at,omitzero"`
	Cached   bool      `json:"cached,omitempty"`
	// Repeated counts refusals of the workspace for asking too often, before this
	// line, that have none.
	Repeated int `json:"repeated,omitempty"`
	// Unseen counts tokens that GitHub may have made without its answer arriving:
	// they live for their hour, and nobody has their text.
	Unseen int `json:"unseen,omitempty"`
}

// The kinds of entries.
const (
	KindRequest   = "request"       // a request was answered
	KindIntent    = "intent"        // GitHub is about to be asked for a token
	KindMinted    = "minted"        // it gave one, or did not
	KindRevoked   = "revoked"       // a token was revoked
	KindBlocked   = "barred"        // an operator blocked a workspace, an account or the App
	KindUnblocked = "admitted"      // an operator unblocked it
	KindLogin     = "login"         // an operator came to the status page, or did not
	KindGitHub    = "github"        // GitHub said that something changed
	KindExchange  = "exchange"      // a join token or a session is exchanged for a session; without a decision, it is about to be
	KindReported  = "reported-push" // a workspace says that its guard refused a push; the broker decided nothing
	KindSession   = "session"       // a session of the git gateway was given, or not
	KindPush      = "push"          // a push through the gateway: before it is forwarded, and each ref with its outcome after
	KindFetch     = "fetch"         // a fetch through the gateway
	KindAPI       = "api"           // a request to GitHub's API through the gateway
	KindLFS       = "lfs"           // a transfer of large files through the gateway
	KindConfig    = "config"        // another generation of the policy is in force
)

// The outcomes of what the gateway forwarded, as GitHub reported them.
const (
	OutcomeOK      = "ok"      // GitHub did it
	OutcomeRefused = "refused" // GitHub, or the broker, refused it
	OutcomeFailed  = "failed"  // it was begun and did not end
	OutcomeUnknown = "unknown" // GitHub did not say, or what it said cannot be read
)

// The decisions.
const (
	Granted = "granted"
	Refused = "refused"
)

// A Journal is the audit log. When it returns, the entry is written down; when
// it cannot be, nothing is given.
type Journal interface {
	// Write writes an entry. With durable it has reached the disk.
	Write(ctx context.Context, e Entry, durable bool) error
}

// audited writes down every decision before it is answered, and answers only
// what was written down. Of refusals for asking too often, one a second of each
// workspace is written down, with how many there were since.
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

// Entry begins an entry of the audit log about something that the workspace does.
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

// journaled writes down that GitHub is about to be asked, on the disk, and then
// what came of it: whatever happens between the two, the log says that a token
// may be alive. A token that cannot be written down is revoked.
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
			if !m.Token.IsZero() { // it was made, and is not what was asked for
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

// repositoryOf is the repository that GitHub says the token opens.
func repositoryOf(t credential.Token, otherwise int64) int64 {
	if len(t.RepositoryIDs) == 1 {
		return t.RepositoryIDs[0]
	}
	return otherwise
}

// unseen counts the tokens that may be alive and that nobody has.
func unseen(m mint.Minted, err error) int {
	if failure, ok := errors.AsType[*mint.Error](err); ok {
		return max(failure.Unseen, m.Unconfirmed)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return 1 // GitHub may have been asked, and was not waited for
	}
	return m.Unconfirmed
}

// repeatEvery is how often it is written down that a workspace is refused for
// asking too often.
const repeatEvery = time.Second

// repeats keeps a workspace from filling the disk, and with it from stopping
// everybody, by being refused for asking too often: one line a second says so, and
// how many there were since the last.
type repeats struct {
	mu    sync.Mutex // guards the rest
	of    map[string]repeated
	swept time.Time
}

type repeated struct {
	written time.Time
	since   int // refused and not written down
}

// written returns how many were not written down before a line that is, and
// whether this one is: any but those for asking too often are.
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

// sweep forgets those who are not refused any more. The caller holds mu.
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
