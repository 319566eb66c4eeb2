package broker

import (
	"net/http"

	"github.com/gatepass/gatepass/internal/crowd"
)

// TooManyOf refuses a stranger that asks too often. This is counted and not
// written down, so that somebody who may not ask cannot fill the disk and with it
// stop everybody else.
func (s *Server) TooManyOf(r *http.Request) error {
	return s.strange(r, (*Limiter).Count)
}

// HadTooMany refuses who [Server.TooManyOf] would refuse, before anything that
// costs is done for somebody who may be a stranger. It counts nothing.
func (s *Server) HadTooMany(r *http.Request) error {
	return s.strange(r, (*Limiter).isOver)
}

func (s *Server) strange(r *http.Request, judge func(*Limiter, string) error) error {
	if s.Strangers == nil {
		return nil
	}
	if err := judge(s.Strangers, crowd.Address(r.RemoteAddr)); err != nil {
		refusal := refusalOf(err)
		return &Refusal{Status: refusal.Status, Reason: ReasonLimit, RetryAfter: refusal.RetryAfter, Detail: "too many requests without an identity come from this address"}
	}
	return nil
}
