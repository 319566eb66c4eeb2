package pktline

import "fmt"

// A Feed parses a stream of packets that is written to it in pieces of any size. It
// buffers at most one packet.
type Feed struct {
	// Packet is called for every packet. The payload is valid during the call. An error
	// ends the feed.
	Packet func(kind Kind, payload []byte) error

	buf  []byte // the packet that has begun, header included
	want int    // its length, once the header is whole
	kind Kind
	err  error
}

// Write takes the next bytes. It returns an error if the bytes are malformed or Packet
// fails, and the same error for every later Write.
func (f *Feed) Write(p []byte) (int, error) {
	taken := 0
	for taken < len(p) && f.err == nil {
		n := f.take(p[taken:])
		taken += n
	}
	return taken, f.err
}

// Pending reports whether a packet has begun and not ended.
func (f *Feed) Pending() bool { return len(f.buf) > 0 }

// take adds as much of p as the header or the packet still needs.
func (f *Feed) take(p []byte) int {
	want := f.want
	if len(f.buf) < Header {
		want = Header
	}
	n := min(want-len(f.buf), len(p))
	f.buf = append(f.buf, p[:n]...)
	if len(f.buf) < want {
		return n
	}
	if want == Header {
		f.kind, f.want, f.err = parseHeader([Header]byte(f.buf))
		f.want += Header
	}
	if f.err == nil && len(f.buf) == f.want {
		f.deliver()
	}
	return n
}

func (f *Feed) deliver() {
	payload := f.buf[Header:]
	f.buf, f.want = f.buf[:0], 0
	if err := f.Packet(f.kind, payload); err != nil {
		f.err = fmt.Errorf("packet: %w", err)
	}
}
