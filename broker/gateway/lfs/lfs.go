// Package lfs is the part of the git gateway that serves Git LFS
// (https://github.com/git-lfs/git-lfs/tree/main/docs/api).
//
// GitHub answers a batch with addresses of its storage and credentials for them. None
// of these reaches a workspace: the gateway encrypts them into addresses of its own,
// which are valid for a few minutes and for that workspace only, and forwards the
// transfers. It never holds a whole object in memory or on disk.
//
// A workspace may download from repositories that its profile lets it read. It may
// upload, and use locks, if its profile lets it push to some ref: a batch names its
// ref, but the gateway cannot check that.
package lfs

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/hooks/refs"
)

// MediaType is the media type of all Git LFS messages.
const MediaType = "application/vnd.git-lfs+json"

// A Handler serves Git LFS. All fields must be set.
type Handler struct {
	Access *access.Access
	// Begin counts a new transfer from a repository of owner, or refuses it. Its
	// context ends when the transfer must end: the workspace was blocked, or may no
	// longer do it. The caller must call end with the number of bytes moved.
	Begin func(ctx context.Context, c access.Caller, owner string) (transfer context.Context, end func(moved int64), err error)
	// Idle returns how long a transfer may make no progress.
	Idle func() time.Duration

	bodies broker.BodyLimiter // of requests that are not transfers
}

// A Target is what the gateway has read from a request's URL.
type Target struct {
	Repo      api.Repo
	Path      string // the part after /info/lfs, as sent, such as /objects/batch
	RequestID string
}

// A call is one request and its caller.
type call struct {
	*Handler
	w      http.ResponseWriter
	r      *http.Request
	target Target
	route  route
	base   string // the URL of the LFS server, as the client wrote it
	result Result
	access.Caller
}

// A Result says how a request ended.
type Result struct {
	// Refusal is why the gateway refused the request, or why a transfer broke off; nil
	// if neither happened.
	Refusal *broker.Refusal
	// IsBroken means that the answer is incomplete. The caller must cut the connection,
	// so that no client takes it for complete: panic(http.ErrAbortHandler).
	IsBroken bool
	// In and Out are bytes of objects from the workspace, and to it.
	In, Out int64
}

// Serve answers one request.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t Target) Result {
	c := call{Handler: h, w: w, r: r, target: t}
	err := c.serve()
	if err == nil {
		return c.result
	}
	c.result.Refusal = broker.RefusalOf(err)
	c.logRefusal(c.result.Refusal)
	if !c.result.IsBroken {
		c.drain()
		Refuse(w, c.result.Refusal, t.RequestID)
	}
	return c.result
}

func (c *call) serve() (err error) {
	var ok bool
	if c.route, ok = parseRoute(c.target.Path); !ok {
		return refusal(http.StatusNotFound, broker.ReasonRequest, "the gateway has no such Git LFS address")
	}
	if err := c.route.checkMethod(c.w, c.r); err != nil {
		return err
	}
	if c.base, err = baseOf(c.r, c.target); err != nil {
		return err
	}
	if c.Caller, err = c.Access.Caller(c.r, c.target.RequestID); err != nil {
		return err
	}
	switch c.route.endpoint {
	case batchEndpoint:
		return c.batch()
	case objectEndpoint, verifyEndpoint:
		return c.transfer()
	}
	return c.locks()
}

func refusal(status int, reason, detail string) *broker.Refusal {
	return &broker.Refusal{Status: status, Reason: reason, Detail: detail}
}

// check decides by the profile alone whether the caller may do the operation in the
// repository.
func (c *call) check(operation string) error {
	if c.Repo.IsValid() && c.Repo != c.target.Repo {
		return refusal(http.StatusForbidden, broker.ReasonRepository, "this session is for "+c.Repo.String()+" only")
	}
	if c.Policy == nil || len(c.Policy.Hosts) == 0 {
		return refusal(http.StatusForbidden, broker.ReasonRule, "the policy does not allow this workspace anything")
	}
	if operation == api.Read && c.ReadsPublic(c.target.Repo) {
		return nil
	}
	_, err := broker.Authorize(c.Workspace, api.TokenRequest{Host: c.Policy.Hosts[0], Repo: c.target.Repo, Operation: operation})
	return err
}

// checkPush refuses a repository in which the caller may not push any ref.
func (c *call) checkPush() error {
	if err := c.check(api.Write); err != nil {
		return err
	}
	policy, err := c.Refs()
	if err != nil {
		return refusal(http.StatusForbidden, broker.ReasonPermission, "the refs of the profile cannot be read: "+err.Error())
	}
	for _, rule := range policy.Rules() {
		if rule.Allows(refs.Create) || rule.Allows(refs.Update) {
			return nil
		}
	}
	return refusal(http.StatusForbidden, broker.ReasonPermission, "the profile of workspace "+c.ID+" allows no push")
}

var errNoAnswer = errors.New("GitHub's answer cannot be read")

// entry returns an audit entry about this call; the caller fills in the rest.
func (c *call) entry(operation string) broker.Entry {
	e := c.Entry(broker.KindLFS, c.Access.Broker.Now())
	e.Remote, e.Operation, e.Repository = c.r.RemoteAddr, operation, c.target.Repo.String()
	return e
}

// describe writes into an entry which token is used; nil means none.
func describe(e *broker.Entry, g *broker.Grant) {
	if g == nil {
		e.Reason = "public"
		return
	}
	e.Hash, e.Expires, e.Permissions = g.Token.Hash(), g.Token.Expiry.UTC(), g.Scope.Permissions()
	if len(g.Token.RepositoryIDs) == 1 {
		e.RepositoryID = g.Token.RepositoryIDs[0]
	}
}

// record writes an entry to the audit log. With durable it returns after the entry is
// on disk.
func (c *call) record(e broker.Entry, durable bool) error {
	e.Time = c.Access.Broker.Now().UTC()
	if err := c.Access.Broker.Journal.Write(context.WithoutCancel(c.r.Context()), e, durable); err != nil {
		return broker.AuditUnavailable(err)
	}
	return nil
}

// recordRefusal records a refusal by the gateway, and returns the error to answer. It
// does not record refusals for too many requests, so that a workspace cannot fill the
// disk.
func (c *call) recordRefusal(e broker.Entry, err error) error {
	r := broker.RefusalOf(err)
	if r.Reason == broker.ReasonLimit {
		return r
	}
	e.Decision, e.Reason, e.Detail, e.Outcome = broker.Refused, r.Reason, r.Detail, broker.OutcomeRefused
	if err := c.record(e, false); err != nil {
		return err
	}
	return r
}

// recordOutcome records GitHub's answer to a call.
func (c *call) recordOutcome(e broker.Entry, status int, err error) {
	e.Decision = broker.Granted
	switch {
	case err != nil:
		e.Outcome, e.Detail = broker.OutcomeUnknown, broker.RefusalOf(err).Detail
	case status < 300:
		e.Outcome = broker.OutcomeOK
	case status >= 500:
		e.Outcome, e.Reason = broker.OutcomeUnknown, broker.ReasonGitHub
	default:
		e.Outcome, e.Reason = broker.OutcomeRefused, broker.ReasonGitHub
	}
	if err := c.record(e, false); err != nil {
		c.logRefusal(broker.RefusalOf(err)) // it was done, so it can no longer be refused
	}
}
