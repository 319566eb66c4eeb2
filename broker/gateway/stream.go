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
	headTimeout = 30 * time.Second // of a push's commands, and of a request that is kept for a second try
	flushAfter  = 20 * time.Millisecond

	// chunkSize is what is read of GitHub's answer before it is written. TLS gives one record
	// at a time, and each write to a client costs two system calls.
	chunkSize  = 64 << 10
	recordSize = 16 << 10
	headSize   = 4 << 10 // of the buffer that the head of a push or of an answer is read from
)

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// A clientError says that the client's part of a request went wrong.
type clientError struct {
	status int
	detail string
	err    error // below; may be nil
}

func (e *clientError) Error() string { return e.detail }
func (e *clientError) Unwrap() error { return e.err }

func (e *clientError) refusal() *broker.Refusal {
	return &broker.Refusal{Status: e.status, Reason: broker.ReasonRequest, Detail: e.detail, Err: e.err}
}

// A watchdog ends a transfer in which nothing moves.
type watchdog struct {
	limit  time.Duration
	last   atomic.Int64 // when something moved, in nanoseconds
	expire func()
	timer  *time.Timer
}

// watch begins a watchdog. expire is called once when nothing moved for limit; a limit of 0
// is none.
func watch(limit time.Duration, expire func()) *watchdog {
	d := &watchdog{limit: limit, expire: expire}
	d.moved()
	if limit > 0 {
		d.timer = time.AfterFunc(limit, d.look)
	}
	return d
}

func (d *watchdog) moved() { d.last.Store(time.Now().UnixNano()) }

func (d *watchdog) look() {
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

// errIdle is why a transfer ends in which nothing moves.
var errIdle = errors.New("nothing moved for too long")

// supervise begins what bounds a transfer once its head was read: the server's read limit
// is lifted, and a watchdog takes its place. The returned function ends it.
func (rq *request) supervise(ctx context.Context) (context.Context, *watchdog, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	connection := http.NewResponseController(rq.w)
	_ = connection.SetReadDeadline(time.Time{}) // without a connection there is nothing to lift
	stopAll := func() {                         // whatever is blocked ends now
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

// bothWays lets the request be read while the answer is written, and reports whether that is
// possible. Otherwise the server closes the request with the first byte of the answer, and
// the transport, which looks for its end once more, takes that for a failure.
func (rq *request) bothWays() bool {
	return http.NewResponseController(rq.w).EnableFullDuplex() == nil
}

// A body is what a client sends. It counts, and ends with a [*clientError] where it is
// longer than it may be or breaks off.
type body struct {
	from io.Reader
	raw  *counter
	dog  *watchdog // nil before the transfer runs
	left int64     // that it may still have; negative is without end
	err  error     // why it ended too early
	// isWhole says that all of it was read.
	isWhole bool
}

// newBody reads the body of a request, which may be gzip. limit is in bytes as decoded; 0
// means none.
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
			return nil, &broker.Refusal{Status: http.StatusBadRequest, Reason: broker.ReasonRequest, Detail: "the body is not the gzip that its header says", Err: err}
		}
		decoder.Multistream(false)
		b.from = decoder
	default:
		return nil, &broker.Refusal{Status: http.StatusUnsupportedMediaType, Reason: broker.ReasonRequest, Detail: "the body has a Content-Encoding other than gzip"}
	}
	return b, nil
}

// isPlain reports whether the body is forwarded as it is sent, so that its length holds.
func (b *body) isPlain() bool { return b.from == io.Reader(b.raw) }

// errTooLong is below the error of a body that is longer than it may be.
var errTooLong = errors.New("over the limit")

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	if b.dog != nil && n > 0 {
		b.dog.moved()
	}
	if b.left >= 0 {
		if b.left -= int64(n); b.left < 0 {
			b.err = &clientError{http.StatusRequestEntityTooLarge, "the body is too large", errTooLong}
			return 0, b.err
		}
	}
	switch {
	case err == io.EOF: //nolint:errorlint // a reader's end is io.EOF itself
		b.isWhole = true
	case err != nil:
		b.err = brokenOff(err)
		err = b.err
	}
	return n, err
}

func brokenOff(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &clientError{http.StatusRequestTimeout, "the request came too slowly", err}
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return &clientError{http.StatusBadRequest, "the body is not the gzip that its header says", err}
	}
	return &clientError{http.StatusBadRequest, "the request ended early", err}
}

// A counter counts what is read of a body.
type counter struct {
	from io.Reader
	n    atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// An answer is what is written to a client. It is sent within flushAfter, so that progress
// shows, and in large pieces where more comes sooner.
type answer struct {
	w       http.ResponseWriter
	flusher *http.ResponseController
	n       int64 // written by Write and copy

	mu      sync.Mutex // guards the rest, and every write to w
	chunk   []byte     // while copy runs: what it has read and not yet written
	pending *time.Timer
	dirty   bool // something was written, or read by copy, since the last flush
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

// flushSoon begins the wait for a flush. The caller holds mu.
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
		_ = a.send()          // copy's next write says what is wrong
		_ = a.flusher.Flush() // likewise
	}
}

// took takes what copy has read, which lies behind what it read before. now says that it
// does not wait for more.
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

// close ends what runs in the background. The server flushes the rest.
func (a *answer) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.pending != nil {
		a.pending.Stop()
	}
}

// copy sends GitHub's answer to the client, and to also, which may be nil. The error is why
// it is not complete.
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
			_, _ = also.Write(piece) // it never fails
		}
		isFull := chunkSize-end < recordSize
		if sendErr := a.took(piece, isFull || err != nil); sendErr != nil {
			return &clientError{http.StatusBadRequest, "the client has gone", sendErr}
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
