package pktline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestReaderReadsPacketsAndNothingBehindThem(t *testing.T) {
	in := strings.NewReader("0009hello0004" + "0001" + "0002" + "0000PACK")
	r := NewReader(in)
	for _, want := range []string{"1 hello", "1 ", "3 ", "4 ", "2 "} {
		kind, payload, err := r.Next()
		if got := fmt.Sprintf("%d %s", kind, payload); err != nil || got != want {
			t.Errorf("Next = %q, %v, want %q", got, err, want)
		}
	}
	if rest, _ := io.ReadAll(in); string(rest) != "PACK" || r.Offset() != 25 {
		t.Errorf("after %d bytes %q is left, want PACK after 25", r.Offset(), rest)
	}
}

func TestReaderRefuses(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, c := range []struct {
		name, in string
		want     error
	}{
		{"a length that counts less than itself", "0003", ErrMalformed},
		{"a length in upper case", "000Ahello\n", ErrMalformed},
		{"a length that is no number", "00x9hello", ErrMalformed},
		{"a length with a sign", "+009hello", ErrMalformed},
		{"a length over git's limit", "fff1" + long, ErrMalformed},
		{"a payload over the limit", string(Append(nil, long)), ErrTooLong},
		{"packets over the limit of all", strings.Repeat("0009hello", 10), ErrTooLong},
		{"nothing", "", io.EOF},
		{"half of a length", "00", io.ErrUnexpectedEOF},
		{"a length and no payload", "0009", io.ErrUnexpectedEOF},
		{"half of a payload", "0009hel", io.ErrUnexpectedEOF},
	} {
		r := &Reader{MaxPayload: 50, MaxTotal: 80, from: strings.NewReader(c.in)}
		var err error
		for err == nil {
			_, _, err = r.Next()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: Next = %v, want %v", c.name, err, c.want)
		}
	}
}

// A packet over the limit needs no memory: its payload is not read.
func TestReaderLeavesWhatIsTooLong(t *testing.T) {
	in := bytes.NewReader(Append(nil, strings.Repeat("x", MaxPayload)))
	r := &Reader{MaxPayload: 50, from: in}
	if _, _, err := r.Next(); !errors.Is(err, ErrTooLong) || in.Len() != MaxPayload || cap(r.buf) > 0 {
		t.Errorf("Next = %v with %d bytes left and a buffer of %d, want the limit and the payload unread", err, in.Len(), cap(r.buf))
	}
}

func TestAppendBandParts(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789"), 20000)
	packets := AppendBand(nil, Progress, text)
	var got []byte
	feed := &Feed{Packet: func(kind Kind, payload []byte) error {
		if kind != Data || Band(payload[0]) != Progress {
			t.Errorf("packet of kind %d, band %d, want data of band 2", kind, payload[0])
		}
		got = append(got, payload[1:]...)
		return nil
	}}
	if _, err := feed.Write(packets); err != nil || !bytes.Equal(got, text) || feed.Pending() {
		t.Errorf("%d bytes came back (%v), want %d", len(got), err, len(text))
	}
}

// Both readers agree, whatever the size of the pieces.
func FuzzFeed(f *testing.F) {
	f.Add([]byte("0009hello00000001"), 1)
	f.Add([]byte("0009hello000"), 3)
	f.Add([]byte("0003"), 2)
	f.Add([]byte("fff0"), 4)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		var read, fed []string
		r := NewReader(bytes.NewReader(in))
		var readErr error
		for {
			kind, payload, err := r.Next()
			if err != nil {
				readErr = err
				break
			}
			read = append(read, fmt.Sprint(kind, string(payload)))
		}
		feed := &Feed{Packet: func(kind Kind, payload []byte) error {
			fed = append(fed, fmt.Sprint(kind, string(payload)))
			return nil
		}}
		var feedErr error
		piece = min(max(piece, 1), max(len(in), 1))
		for rest := in; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			_, feedErr = feed.Write(rest[:min(piece, len(rest))])
		}
		if strings.Join(read, "|") != strings.Join(fed, "|") {
			t.Errorf("Reader: %q, Feed: %q", read, fed)
		}
		if errors.Is(readErr, ErrMalformed) != errors.Is(feedErr, ErrMalformed) {
			t.Errorf("Reader ends with %v, Feed with %v", readErr, feedErr)
		}
		if errors.Is(readErr, io.ErrUnexpectedEOF) != feed.Pending() && feedErr == nil {
			t.Errorf("Reader ends with %v, and Pending is %v", readErr, feed.Pending())
		}
	})
}
