package broker

import (
	"net/http"

	"github.com/gatepass/gatepass/internal/crowd"
)

// TooManyOf refuses a stranger that asks too often. This is counted and not
// written down, so that somebody who may not ask cannot fill the disk and with it
// stop everybody else.
func (b *Broker) TooManyOf(r *http.Request) error {
	return b.strange(r, (*Limiter).Count)
}

// HadTooMany refuses who [Broker.TooManyOf] would refuse, before anything that
// costs is done for somebody who may be a stranger. It counts nothing.
func (b *Broker) HadTooMany(r *http.Request) error {
	return b.strange(r, (*Limiter).isOver)
}

func (b *Broker) strange(r *http.Request, judge func(*Limiter, string) error) error {
	if err := judge(b.strangers, crowd.Address(r.RemoteAddr)); err != nil {
		refusal := refusalOf(err)
		return &Refusal{Status: refusal.Status, Reason: ReasonLimit, RetryAfter: refusal.RetryAfter, Detail: "too many requests without an identity come from this address"}
	}
	return nil
}
