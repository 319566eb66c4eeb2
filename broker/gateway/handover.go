package gateway

import (
	"errors"
	"io"
	"sync"
)

// A handover is a reader that is read by one goroutine and then by another.
type handover struct {
	mu     sync.Mutex // held during a Read; guards the rest
	from   io.Reader
	isOver bool
}

var errAbandoned = errors.New("the rest of the push is not forwarded")

func (h *handover) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isOver {
		return 0, errAbandoned
	}
	return h.from.Read(p)
}

// An evenly is a reader whose pieces fill the connection to GitHub: with the size in front
// and the line break behind that a chunk has, each is two whole records of TLS. It waits for
// a whole piece, since the pieces of a client that sends chunks are of other sizes.
type evenly struct{ from io.Reader }

func (e evenly) Read(p []byte) (int, error) {
	const piece = 2*recordSize - len("7ff8\r\n\r\n")
	n, err := io.ReadFull(e.from, p[:min(len(p), piece)])
	if err == io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull's own: the end, which the next Read tells
		err = nil
	}
	return n, err
}

// abandon ends the reading. When it returns, from is the caller's.
func (h *handover) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isOver = true
}
