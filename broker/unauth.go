package broker

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatepass/gatepass/internal/fairshare"
)

// TooManyOf refuses a stranger that asks too often. This is counted and not
// written down, so that somebody who may not ask cannot fill the disk and with it
// stop everybody else.
func (b *Broker) ChargeUnauth(r *http.Request) error {
	return b.limitUnauth(r, (*Limiter).Count)
}

// RefuseStranger writes to the audit log that a request had no identity that could be
// used, and returns what to answer: why, as err says, or that there are too many such
// requests. operation is what was asked for; "" is a token.
func (b *Broker) RefuseUnauth(r *http.Request, id, operation string, err error) error {
	if err := b.ChargeUnauth(r); err != nil {
		return err
	}
	refusal := RefusalOf(err)
	e := Entry{
		Time: b.Now().UTC(), Kind: KindRequest, RequestID: id, Remote: r.RemoteAddr, Operation: operation,
		Decision: Refused, Reason: refusal.Reason, Detail: refusal.Detail, Policy: b.Policy().Hash,
	}
	if writeErr := b.Journal.Write(context.WithoutCancel(r.Context()), e, false); writeErr != nil {
		return AuditUnavailable(errors.Join(err, writeErr))
	}
	return refusal
}

// HadTooMany refuses who [Broker.TooManyOf] would refuse, before anything that
// costs is done for somebody who may be a stranger. It counts nothing.
func (b *Broker) UnauthExceeded(r *http.Request) error {
	return b.limitUnauth(r, (*Limiter).Over)
}

func (b *Broker) limitUnauth(r *http.Request, judge func(*Limiter, string) error) error {
	if err := judge(b.strangers, fairshare.Address(r.RemoteAddr)); err != nil {
		refusal := RefusalOf(err)
		return &Refusal{Status: refusal.Status, Reason: ReasonLimit, RetryAfter: refusal.RetryAfter, Detail: "too many requests without an identity come from this address"}
	}
	return nil
}
