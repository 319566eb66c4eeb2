// Package pktline reads and writes git's pkt-lines (gitprotocol-common(5)): four
// hexadecimal digits with the length, the digits included, then the payload.
//
// [Reader] reads what a client of the gateway sends. It never reads beyond a packet, so
// that the rest can be forwarded. [Feed] parses a stream that is copied elsewhere. Both
// are stricter than git: they refuse upper-case digits in lengths.
package pktline

import (
	"errors"
	"fmt"
	"io"
)

const (
	// Header is the number of bytes before a payload.
	Header = 4
	// MaxPayload is the longest payload, in bytes: a whole pkt-line has at most 65,520.
	MaxPayload = 65520 - Header
)

// A Kind is the kind of a packet.
type Kind int

// The kinds. The three special ones have no payload.
const (
	Invalid     Kind = iota // no packet was read
	Data                    // a payload, which may be empty
	Flush                   // 0000
	Delim                   // 0001
	ResponseEnd             // 0002
)

// FlushPacket ends a list of packets.
const FlushPacket = "0000"

var (
	// ErrMalformed reports bytes that are not a pkt-line.
	ErrMalformed = errors.New("not a pkt-line")
	// ErrTooLong reports a packet over the reader's limit.
	ErrTooLong = errors.New("over the limit")
)

// A Reader reads one packet at a time, and nothing beyond it.
type Reader struct {
	// MaxPayload is the longest payload to accept, in bytes. 0 or more than git's own
	// limit means that limit.
	MaxPayload int
	// MaxTotal is how many bytes all packets may have, headers included. 0 means no limit.
	MaxTotal int64

	from io.Reader
	head [Header]byte
	buf  []byte
	read int64
}

// NewReader returns a Reader of from. It makes small reads: from should be buffered.
func NewReader(from io.Reader) *Reader { return &Reader{from: from} }

// Offset returns how many bytes have been read.
func (r *Reader) Offset() int64 { return r.read }

// Next reads one packet. The payload is valid until the next call.
//
// The errors are [ErrMalformed] and [ErrTooLong] with a reason, io.EOF if the input
// ends before a packet, io.ErrUnexpectedEOF if it ends within one, and errors of the
// input. Next does not read a packet over a limit.
func (r *Reader) Next() (kind Kind, payload []byte, err error) {
	n, err := io.ReadFull(r.from, r.head[:])
	r.read += int64(n)
	if err != nil {
		return Invalid, nil, err
	}
	kind, length, err := parseHeader(r.head)
	if err != nil {
		return Invalid, nil, err
	}
	if err := r.checkSize(length); err != nil {
		return Invalid, nil, err
	}
	if kind != Data {
		return kind, nil, nil
	}
	payload, err = r.payload(length)
	return kind, payload, err
}

func (r *Reader) checkSize(length int) error {
	if r.MaxPayload > 0 && length > r.MaxPayload {
		return fmt.Errorf("a pkt-line of %d bytes: %w of %d", length, ErrTooLong, r.MaxPayload)
	}
	if r.MaxTotal > 0 && r.read+int64(length) > r.MaxTotal {
		return fmt.Errorf("pkt-lines of more than %d bytes: %w", r.MaxTotal, ErrTooLong)
	}
	return nil
}

func (r *Reader) payload(length int) ([]byte, error) {
	if cap(r.buf) < length {
		r.buf = make([]byte, max(length, 512))
	}
	buf := r.buf[:length]
	n, err := io.ReadFull(r.from, buf)
	r.read += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return buf, nil
}

// parseHeader returns a packet's kind and the length of its payload.
func parseHeader(head [Header]byte) (Kind, int, error) {
	length := 0
	for _, c := range head {
		digit, ok := hexDigit(c)
		if !ok {
			return Invalid, 0, malformed(head)
		}
		length = length<<4 | digit
	}
	switch {
	case length == 0:
		return Flush, 0, nil
	case length == 1:
		return Delim, 0, nil
	case length == 2:
		return ResponseEnd, 0, nil
	case length < Header || length-Header > MaxPayload:
		return Invalid, 0, malformed(head)
	}
	return Data, length - Header, nil
}

func malformed(head [Header]byte) error {
	return fmt.Errorf("%w: its length is %q", ErrMalformed, string(head[:]))
}

// hexDigit returns the value of a lower-case digit. All known clients write lower case.
func hexDigit(c byte) (int, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10, true
	}
	return 0, false
}

// Append appends payload as one pkt-line. It panics if payload is longer than
// [MaxPayload].
func Append[T string | []byte](to []byte, payload T) []byte {
	return append(appendHeader(to, len(payload)), payload...)
}

func appendHeader(to []byte, payload int) []byte {
	if payload > MaxPayload {
		panic(fmt.Sprintf("pktline: a payload of %d bytes", payload))
	}
	const digits = "0123456789abcdef"
	n := payload + Header
	return append(to, digits[n>>12&15], digits[n>>8&15], digits[n>>4&15], digits[n&15])
}

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
		n := f.collect(p[taken:])
		taken += n
	}
	return taken, f.err
}

// Pending reports whether a packet has begun and not ended.
func (f *Feed) Pending() bool { return len(f.buf) > 0 }

// collect adds as much of p as the header or the packet still needs.
func (f *Feed) collect(p []byte) int {
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

// A Band is a stream within side-band-64k: the first byte of a payload.
type Band byte

// The bands of side-band-64k.
const (
	Report   Band = 1 // the answer to the request
	Progress Band = 2 // text that git prints after "remote: "
	Fatal    Band = 3 // text of an error that ends the exchange
)

// KeepAlive is an empty packet of side-band-64k, which clients ignore.
const KeepAlive = "0005\x01"

// AppendBand appends text on a band, in as many packets as needed.
func AppendBand(to []byte, band Band, text []byte) []byte {
	for len(text) > 0 {
		n := min(len(text), MaxPayload-1)
		to = append(append(appendHeader(to, n+1), byte(band)), text[:n]...)
		text = text[n:]
	}
	return to
}
