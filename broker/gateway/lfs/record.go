package lfs

import (
	"context"

	"github.com/gatepass/gatepass/broker"
)

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
