package broker

import (
	"net"
	"net/http"
	"net/netip"
)

// stranger is where a request comes from that nobody could be made of: an
// address, or of IPv6 the network of a site, since one host has many of those.
func stranger(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "socket"
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return "socket"
	}
	const site = 64 // bits
	if address = address.Unmap(); address.Is6() {
		if p, err := address.WithZone("").Prefix(site); err == nil {
			return p.String()
		}
	}
	return address.String()
}

// TooManyOf refuses a stranger that asks too often. This is counted and not
// written down, so that somebody who may not ask cannot fill the disk and with it
// stop everybody else.
func (s *Server) TooManyOf(r *http.Request) error {
	if s.Strangers == nil {
		return nil
	}
	from := stranger(r)
	if err := s.Strangers.enter(from); err != nil {
		refusal := refusalOf(err)
		return &Refusal{Status: refusal.Status, Reason: ReasonLimit, RetryAfter: refusal.RetryAfter, Detail: "too many requests without an identity come from this address"}
	}
	s.Strangers.leave(from)
	return nil
}
