package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/fairshare"
	"github.com/gatepass/gatepass/internal/usererr"
)

// recorded writes to the audit log what a request is about to change at GitHub, before
// it is sent, and GitHub's answer afterwards. Requests that change nothing are only
// counted by metrics.
func (c *call) recorded(next func() error) error {
	if isSafe(c.r.Method) {
		return next()
	}
	e := c.entry()
	e.Decision, e.Hash, e.Permissions = broker.Granted, c.grant.Token.Hash(), c.grant.Scope.Permissions()
	journal := c.access.Broker.Journal
	if err := journal.Write(c.r.Context(), e, true); err != nil {
		return broker.AuditUnavailable(err)
	}
	err := next()
	e.Time = c.now().UTC()
	e.Outcome, e.Reason, e.Detail = c.outcome(err)
	if writeErr := journal.Write(context.WithoutCancel(c.r.Context()), e, false); writeErr != nil {
		c.log(broker.AuditUnavailable(writeErr))
	}
	return err
}

// outcome returns GitHub's answer to a forwarded request, for the audit log.
func (c *call) outcome(err error) (outcome, reason, detail string) {
	detail = "GitHub answered " + strconv.Itoa(c.status)
	switch {
	case c.status == 0 && err != nil:
		refusal := broker.RefusalOf(err)
		return broker.OutcomeUnknown, refusal.Reason, refusal.Detail
	case c.status == 0:
		return broker.OutcomeUnknown, broker.ReasonNone, "GitHub did not answer"
	case c.status >= http.StatusInternalServerError:
		return broker.OutcomeUnknown, broker.ReasonNone, detail
	case c.status >= http.StatusBadRequest:
		return broker.OutcomeRefused, broker.ReasonGitHub, detail
	case c.hasErrors && c.target.area == graphqlArea:
		return broker.OutcomeRefused, broker.ReasonGitHub, detail + " with errors"
	case err != nil && c.target.area == graphqlArea:
		return broker.OutcomeUnknown, broker.ReasonNone, detail + ", but the answer is incomplete"
	}
	return broker.OutcomeOK, broker.ReasonNone, detail
}

// refused records the refusal of a request that would change something, and returns its
// error.
func (c *call) refused(err error) error {
	if isSafe(c.r.Method) {
		return err
	}
	refusal, e := broker.RefusalOf(err), c.entry()
	e.Decision, e.Reason, e.Detail = broker.Refused, refusal.Reason, refusal.Detail
	if writeErr := c.access.Broker.Journal.Write(context.WithoutCancel(c.r.Context()), e, false); writeErr != nil {
		return broker.AuditUnavailable(errors.Join(err, writeErr))
	}
	return err
}

// entry returns an audit entry that says who asks for what. It contains no queries and
// no bodies.
func (c *call) entry() broker.Entry {
	w := c.caller.Workspace
	return broker.Entry{
		Time: c.now().UTC(), Kind: broker.KindAPI, RequestID: c.id, Workspace: w.ID, Method: w.Caller.Method, Subject: usererr.Cut(w.Caller.Subject, 300),
		Claims: w.Claims, Rule: w.Rule, Policy: w.Policy.Hash, Remote: fairshare.Address(c.r.RemoteAddr),
		Host: c.access.Upstream.Git.Host, Repository: c.repoText(), RepositoryID: c.repoID(),
		Operation: usererr.Cut(c.r.Method+" "+c.pathText(), 300),
	}
}

func (c *call) repoText() string {
	if c.grant.Scope.Repo.IsValid() {
		return c.grant.Scope.Repo.String()
	}
	return c.target.repo.String()
}

// repoID returns the GitHub id of the token's repository; 0 without a token.
func (c *call) repoID() int64 {
	if ids := c.grant.Token.RepositoryIDs; len(ids) == 1 {
		return ids[0]
	}
	return 0
}

func (c *call) pathText() string {
	if c.target.area == graphqlArea {
		return "/graphql"
	}
	return c.target.path
}
