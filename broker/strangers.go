package broker

import (
	"net/http"

	"github.com/gatepass/gatepass/internal/crowd"
)

// TooManyOf refuses a stranger that asks too often. This is counted and not
// written down, so that somebody who may not ask cannot fill the disk and with it
// stop everybody else.
func (s *Server) TooManyOf(r *http.Request) error {
	if s.Strangers == nil {
		return nil
	}
	from := crowd.Address(r.RemoteAddr)
	if err := s.Strangers.enter(from); err != nil {
		refusal := refusalOf(err)
		return &Refusal{Status: refusal.Status, Reason: ReasonLimit, RetryAfter: refusal.RetryAfter, Detail: "too many requests without an identity come from this address"}
	}
	s.Strangers.leave(from)
	return nil
}
