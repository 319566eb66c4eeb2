// Package fairshare divides a fixed capacity among clients that are known only by their
// IP address. When it is exhausted, the address that holds the most loses its oldest share.
package fairshare

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// A Pool is a capacity. Size must be set, and must not change.
type Pool struct {
	Size int64 // in a unit of the caller's choice
	// EvictOldest is for shares that a well-behaved client holds only for a moment: if
	// no address holds more than the new one, the oldest share is evicted. Otherwise
	// the new share is refused.
	EvictOldest bool

	mu     sync.Mutex // guards the rest
	used   int64
	shares list.List        // of *share, oldest first
	of     map[string]int64 // used capacity by address
}

type share struct {
	from  string
	size  int64
	evict func()
	at    *list.Element // nil after its removal
}

// Acquire takes size for an address, and evicts shares of others if capacity is
// lacking. evict is called at most once, when this share is evicted, while the pool is
// locked: it must neither wait nor call the pool. If ok, the caller must call release
// to give the share back; after that, evict is not called.
func (p *Pool) Acquire(from string, size int64, evict func()) (release func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if size > p.Size {
		return nil, false
	}
	for p.used+size > p.Size {
		s := p.victim(from, size)
		if s == nil {
			return nil, false
		}
		p.remove(s)
		s.evict()
	}
	if p.of == nil {
		p.of = map[string]int64{}
	}
	s := &share{from: from, size: size, evict: evict}
	s.at = p.shares.PushBack(s)
	p.used += size
	p.of[from] += size
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.remove(s)
	}, true
}

// victim returns the oldest share of the address that holds the most, with the new
// share counted; nil if that is the new share's own address. The caller holds mu.
func (p *Pool) victim(from string, size int64) *share {
	held := func(address string) int64 {
		if address == from {
			return p.of[address] + size
		}
		return p.of[address]
	}
	var most *share
	for e := p.shares.Front(); e != nil; e = e.Next() {
		if s := e.Value.(*share); most == nil || held(s.from) > held(most.from) {
			most = s
		}
	}
	if most != nil && !p.EvictOldest && held(most.from) <= held(from) {
		return nil
	}
	return most
}

// remove removes a share, unless it is removed already. The caller holds mu.
func (p *Pool) remove(s *share) {
	if s.at == nil {
		return
	}
	p.shares.Remove(s.at)
	s.at = nil
	p.used -= s.size
	if p.of[s.from] -= s.size; p.of[s.from] == 0 {
		delete(p.of, s.from)
	}
}

// Address returns the address to which a share of remote, HOST:PORT, is counted: for
// IPv6 the /64, since one host has many addresses in it. All clients of a Unix socket
// are "socket".
func Address(remote string) string {
	host, _, err := net.SplitHostPort(remote)
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
