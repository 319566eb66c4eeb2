package gateway

import (
	"errors"
	"io"
	"sync"
)

// A handover is a reader that one goroutine reads first, and another afterwards.
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

// An evenly is a reader whose reads fill the buffer of the connection to GitHub: a
// piece, with a chunk's size before it and line breaks after it, is exactly two TLS
// records. It waits for a whole piece, because a client that sends chunks sends other
// sizes.
type evenly struct{ from io.Reader }

func (e evenly) Read(p []byte) (int, error) {
	const piece = 2*recordSize - len("7ff8\r\n\r\n")
	n, err := io.ReadFull(e.from, p[:min(len(p), piece)])
	if err == io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull's own: the end, which the next Read tells
		err = nil
	}
	return n, err
}

// abandon makes later Reads fail. Once it returns, the caller may read from.
func (h *handover) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isOver = true
}
