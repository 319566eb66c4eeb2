// Package lfs is the part of the git gateway that serves Git LFS
// (https://github.com/git-lfs/git-lfs/tree/main/docs/api).
//
// GitHub answers a batch with the addresses of its storage, and with credentials for
// them. None of these reaches a workspace: the gateway encrypts them into addresses of
// its own, which hold for a few minutes and for that workspace only, and forwards the
// transfers. An object is never in memory or on disk as a whole.
//
// A workspace may download what its profile lets it read. It may upload, and use locks,
// where its profile lets it push to some ref: a batch says for which ref it is, and
// nobody can check that.
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

// MediaType is the type of all messages of Git LFS.
const MediaType = "application/vnd.git-lfs+json"

// A Handler serves Git LFS. All its fields must be set.
type Handler struct {
	Access *access.Access
	// Begin counts a transfer of a repository's owner in, or refuses it. The context that
	// it returns ends when the transfer has to end: its workspace was blocked, or may not
	// do it any more. end is told how many bytes the transfer moved.
	Begin func(ctx context.Context, c access.Caller, owner string) (transfer context.Context, end func(moved int64), err error)
	// Idle is how long a transfer may move nothing.
	Idle func() time.Duration

	bodies broker.BodyLimiter // of requests that are no transfers
}

// A Target is what the gateway read in the URL of a request.
type Target struct {
	Repo      api.Repo
	Path      string // what stands behind /info/lfs, as it was sent, such as /objects/batch
	RequestID string
}

// A call is one request, and who sent it.
type call struct {
	*Handler
	w      http.ResponseWriter
	r      *http.Request
	target Target
	route  route
	base   string // the URL of the LFS server as the client wrote it
	result Result
	access.Caller
}

// A Result is what became of a request.
type Result struct {
	// Refusal is why the gateway refused the request, or why a transfer broke off; nil
	// where neither happened.
	Refusal *broker.Refusal
	// IsBroken says that the answer is not whole. The caller has to break the connection
	// off, so that no client takes it for whole: panic(http.ErrAbortHandler).
	IsBroken bool
	// In and Out are bytes of objects from the workspace and to it.
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
		return refusal(http.StatusNotFound, broker.ReasonRequest, "the gateway has no such address of Git LFS")
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

// check decides by the profile alone whether the caller may use the repository so.
func (c *call) check(operation string) error {
	if c.Repo.IsValid() && c.Repo != c.target.Repo {
		return refusal(http.StatusForbidden, broker.ReasonRepository, "this session is for "+c.Repo.String()+" only")
	}
	if c.Policy == nil || len(c.Policy.Hosts) == 0 {
		return refusal(http.StatusForbidden, broker.ReasonRule, "the policy gives this workspace nothing")
	}
	if operation == api.Read && c.ReadsPublic(c.target.Repo) {
		return nil
	}
	_, err := broker.Authorize(c.Workspace, api.TokenRequest{Host: c.Policy.Hosts[0], Repo: c.target.Repo, Operation: operation})
	return err
}

// checkPush refuses a repository to which the caller may not push any ref.
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
