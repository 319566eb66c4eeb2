// Package crowd shares what little there is of something among many of whom only
// the address is known. Nobody takes all of it: when there is no more, it is taken
// from whoever has the most.
package crowd

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// A Room holds so much at once. Size must be set, and is not changed.
type Room struct {
	Size int64 // in units of the caller's
	// IsBrief says that nobody of good will is in the room for more than a moment:
	// where no address has more than the newcomer's, the oldest makes way. Otherwise
	// the newcomer is not let in.
	IsBrief bool

	mu     sync.Mutex // guards the rest
	used   int64
	guests list.List        // of *guest, the oldest first
	of     map[string]int64 // used, by address
}

type guest struct {
	from string
	size int64
	cut  func()
	at   *list.Element // nil when it is out
}

// Enter takes size from the room for an address, and from others what is lacking:
// their cut is called, once, while the room is locked; it may neither wait nor call
// the room. Where ok, leave gives back what was taken and is not already lost, and
// after it cut is not called.
func (r *Room) Enter(from string, size int64, cut func()) (leave func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if size > r.Size {
		return nil, false
	}
	for r.used+size > r.Size {
		g := r.inTheWay(from, size)
		if g == nil {
			return nil, false
		}
		r.remove(g)
		g.cut()
	}
	if r.of == nil {
		r.of = map[string]int64{}
	}
	g := &guest{from: from, size: size, cut: cut}
	g.at = r.guests.PushBack(g)
	r.used += size
	r.of[from] += size
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.remove(g)
	}, true
}

// inTheWay is the oldest of the address that has the most, the newcomer counted
// in; nil where the newcomer is. The caller holds mu.
func (r *Room) inTheWay(from string, size int64) *guest {
	share := func(address string) int64 {
		if address == from {
			return r.of[address] + size
		}
		return r.of[address]
	}
	var most *guest
	for e := r.guests.Front(); e != nil; e = e.Next() {
		if g := e.Value.(*guest); most == nil || share(g.from) > share(most.from) {
			most = g
		}
	}
	if most != nil && !r.IsBrief && share(most.from) <= share(from) {
		return nil
	}
	return most
}

// remove takes a guest out, if it is in. The caller holds mu.
func (r *Room) remove(g *guest) {
	if g.at == nil {
		return
	}
	r.guests.Remove(g.at)
	g.at = nil
	r.used -= g.size
	if r.of[g.from] -= g.size; r.of[g.from] == 0 {
		delete(r.of, g.from)
	}
}

// Address is whom to count what comes from remote, HOST:PORT, for: the address,
// or of IPv6 the network of a site, since one host has many of those. All who come
// by a Unix socket are "socket".
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
