package gateway

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/broker"
)

const (
	headTimeout = 30 * time.Second // for a push's commands, and for a request that is held in memory to be sent again
	flushAfter  = 20 * time.Millisecond

	// chunkSize is how much of GitHub's answer is read before it is written. TLS
	// returns one record at a time, and each write to a client costs two system calls.
	chunkSize  = 64 << 10
	recordSize = 16 << 10
	headSize   = 4 << 10 // of the buffer for the head of a push or of an answer
)

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// A clientError is an error that the client caused.
type clientError struct {
	status int
	detail string
	err    error // the cause; may be nil
}

func (e *clientError) Error() string { return e.detail }
func (e *clientError) Unwrap() error { return e.err }

func (e *clientError) refusal() *broker.Refusal {
	return &broker.Refusal{Status: e.status, Reason: broker.ReasonRequest, Detail: e.detail, Err: e.err}
}

// A watchdog ends a transfer that makes no progress.
type watchdog struct {
	limit  time.Duration
	last   atomic.Int64 // time of the last progress, in nanoseconds
	expire func()
	timer  *time.Timer
}

// watch starts a watchdog. It calls expire once if there is no progress for limit; 0
// means no limit.
func watch(limit time.Duration, expire func()) *watchdog {
	d := &watchdog{limit: limit, expire: expire}
	d.moved()
	if limit > 0 {
		d.timer = time.AfterFunc(limit, d.check)
	}
	return d
}

func (d *watchdog) moved() { d.last.Store(time.Now().UnixNano()) }

func (d *watchdog) check() {
	if left := d.limit - time.Since(time.Unix(0, d.last.Load())); left > 0 {
		d.timer.Reset(left)
		return
	}
	d.expire()
}

func (d *watchdog) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// errIdle is the error of a transfer that made no progress for too long.
var errIdle = errors.New("no data moved for too long")

// supervise replaces the server's read limit by a watchdog, once the head of a transfer
// was read. The returned function ends it.
func (rq *request) supervise(ctx context.Context) (context.Context, *watchdog, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	connection := http.NewResponseController(rq.w)
	_ = connection.SetReadDeadline(time.Time{}) // fails only without a connection
	stopAll := func() {                         // unblocks reads and writes
		past := time.Unix(1, 0)
		_ = connection.SetReadDeadline(past)
		_ = connection.SetWriteDeadline(past)
	}
	dog := watch(rq.settings.IdleTimeout, func() { cancel(errIdle); stopAll() })
	unhook := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); errors.Is(cause, errCut) {
			stopAll()
		}
	})
	return ctx, dog, func() { dog.stop(); unhook(); cancel(nil) }
}

// bothWays allows reading the request while the answer is written, and reports whether
// that is possible. Without it, the server closes the request with the first byte of
// the answer, and the transport, which reads to the request's end, takes that for a
// failure.
func (rq *request) bothWays() bool {
	return http.NewResponseController(rq.w).EnableFullDuplex() == nil
}

// A body is the body that a client sends. It counts the bytes. It fails with a
// [*clientError] if it is too long or breaks off.
type body struct {
	from     io.Reader
	raw      *counter
	watchdog *watchdog // nil before the transfer begins
	left     int64     // bytes that may still come; negative means no limit
	err      error     // why it failed
	// isComplete means that the whole body was read.
	isComplete bool
}

// newBody returns the body of a request, decompressed if it is gzip. limit is in
// decompressed bytes; 0 means none.
func newBody(r *http.Request, limit int64) (*body, error) {
	b := &body{raw: &counter{from: r.Body}, left: -1}
	b.from = b.raw
	if limit > 0 {
		b.left = limit
	}
	switch encoding := r.Header.Values("Content-Encoding"); {
	case len(encoding) == 0, len(encoding) == 1 && strings.EqualFold(encoding[0], "identity"):
	case len(encoding) == 1 && (encoding[0] == "gzip" || encoding[0] == "x-gzip"):
		decoder, err := gzip.NewReader(b.raw)
		if err != nil {
			return nil, &broker.Refusal{Status: http.StatusBadRequest, Reason: broker.ReasonRequest, Detail: "the body is not gzip, although its header says so", Err: err}
		}
		decoder.Multistream(false)
		b.from = decoder
	default:
		return nil, &broker.Refusal{Status: http.StatusUnsupportedMediaType, Reason: broker.ReasonRequest, Detail: "the body's Content-Encoding must be gzip or absent"}
	}
	return b, nil
}

// isPlain reports whether the body is forwarded as sent, so that its length is known.
func (b *body) isPlain() bool { return b.from == io.Reader(b.raw) }

// errTooLong is the cause if a body is over its limit.
var errTooLong = errors.New("over the limit")

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	if b.watchdog != nil && n > 0 {
		b.watchdog.moved()
	}
	if b.left >= 0 {
		if b.left -= int64(n); b.left < 0 {
			b.err = &clientError{http.StatusRequestEntityTooLarge, "the body is too large", errTooLong}
			return 0, b.err
		}
	}
	switch {
	case err == io.EOF: //nolint:errorlint // a reader's end is io.EOF itself
		b.isComplete = true
	case err != nil:
		b.err = brokenOff(err)
		err = b.err
	}
	return n, err
}

func brokenOff(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &clientError{http.StatusRequestTimeout, "the request arrived too slowly", err}
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return &clientError{http.StatusBadRequest, "the body is not gzip, although its header says so", err}
	}
	return &clientError{http.StatusBadRequest, "the request ended early", err}
}

// A counter counts the bytes read from a body.
type counter struct {
	from io.Reader
	n    atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// An answer writes to a client. It flushes within flushAfter, so that progress shows,
// and joins pieces that come sooner into larger writes.
type answer struct {
	w       http.ResponseWriter
	flusher *http.ResponseController
	n       int64 // bytes written by Write and copy

	mu      sync.Mutex // guards the rest, and every write to w
	chunk   []byte     // during copy: what it has read and not yet written
	pending *time.Timer
	dirty   bool // written, or read by copy, since the last flush
	closed  bool
}

func newAnswer(w http.ResponseWriter) *answer {
	return &answer{w: w, flusher: http.NewResponseController(w)}
}

func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, err := a.w.Write(p)
	a.n += int64(n)
	a.flushSoon()
	return n, err
}

// flushSoon schedules a flush. The caller holds mu.
func (a *answer) flushSoon() {
	switch {
	case a.dirty:
	case a.pending == nil:
		a.pending = time.AfterFunc(flushAfter, a.flush)
	default:
		a.pending.Reset(flushAfter)
	}
	a.dirty = true
}

func (a *answer) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dirty && !a.closed {
		a.dirty = false
		_ = a.send()          // copy's next write returns the error
		_ = a.flusher.Flush() // likewise
	}
}

// took takes the piece that copy has read, which follows the last one in memory. now
// means to write without waiting for more.
func (a *answer) took(piece []byte, now bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.chunk == nil {
		a.chunk = piece
	} else {
		a.chunk = a.chunk[:len(a.chunk)+len(piece)]
	}
	a.flushSoon()
	if now {
		return a.send()
	}
	return nil
}

// send writes what copy has read. The caller holds mu.
func (a *answer) send() error {
	chunk := a.chunk
	a.chunk = nil
	if len(chunk) == 0 {
		return nil
	}
	n, err := a.w.Write(chunk)
	a.n += int64(n)
	return err
}

// close stops the scheduled flush. The server flushes the rest.
func (a *answer) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.pending != nil {
		a.pending.Stop()
	}
}

// copy copies GitHub's answer to the client, and to also, which may be nil. An error
// means that the answer is incomplete.
func (a *answer) copy(from io.Reader, also io.Writer, dog *watchdog) error {
	room := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(room)
	for end := 0; ; {
		n, err := from.Read(room[end:])
		if n > 0 {
			dog.moved()
		}
		piece := room[end : end+n]
		end += n
		if also != nil {
			_, _ = also.Write(piece) // cannot fail
		}
		isFull := chunkSize-end < recordSize
		if sendErr := a.took(piece, isFull || err != nil); sendErr != nil {
			return &clientError{http.StatusBadRequest, "the client closed the connection", sendErr}
		}
		if isFull {
			end = 0
		}
		if err == io.EOF { //nolint:errorlint // a reader's end is io.EOF itself
			return nil
		}
		if err != nil {
			return err
		}
	}
}
