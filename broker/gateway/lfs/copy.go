package lfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const bufferSize = 32 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

var (
	errIdle = errors.New("no data moved for too long")
	errSize = errors.New("the object's size differs from the batch")
)

// A meter counts the bytes of a transfer, and ends it when it makes no progress for too
// long.
type meter struct {
	idle  time.Duration
	timer *time.Timer
	moved atomic.Int64
}

// watch returns a context for one transfer, and the meter that must see each move. The
// context ends when nothing moves for too long. Its end unblocks reads and writes of
// the client's connection, which cannot be used afterwards. The caller must call stop.
func (c *call) watch(parent context.Context) (ctx context.Context, m *meter, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	m = &meter{idle: c.Idle()}
	m.timer = time.AfterFunc(m.idle, func() { cancel(errIdle) })
	connection := http.NewResponseController(c.w)
	_ = connection.SetReadDeadline(time.Time{}) // fails only in tests, without a connection
	release := context.AfterFunc(ctx, func() {
		past := time.Unix(1, 0)
		_ = connection.SetReadDeadline(past)
		_ = connection.SetWriteDeadline(past)
	})
	return ctx, m, func() {
		release()
		m.timer.Stop()
		cancel(nil)
	}
}

func (m *meter) move(n int) {
	m.moved.Add(int64(n))
	m.timer.Reset(m.idle)
}

// copy copies exactly size bytes.
func (m *meter) copy(to io.Writer, from io.Reader, size int64) error {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	for left := size; left > 0; {
		n, err := from.Read(buffer[:min(left, bufferSize)])
		m.move(n)
		left -= int64(n)
		if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
			return writeErr
		}
		m.move(0)
		if err != nil && left > 0 {
			return fmt.Errorf("%w: %d bytes are missing: %w", errSize, left, err)
		}
	}
	return nil
}

// A measured body must have exactly left bytes. If it is longer or shorter, reading it
// fails before the last byte, so that no reader has a complete object.
type measured struct {
	m    *meter
	body io.Reader
	left int64
	err  error // of the last read, and of all after it
}

func (b *measured) Read(p []byte) (n int, err error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.left > 0 {
		n, b.err = b.body.Read(p[:min(int64(len(p)), b.left)])
		b.m.move(n)
		b.left -= int64(n)
	}
	switch isEnd := errors.Is(b.err, io.EOF); {
	case b.left > 0 && isEnd:
		b.err = errSize
	case b.left == 0 && b.err == nil:
		b.err = b.end()
	}
	if b.left == 0 && !errors.Is(b.err, io.EOF) {
		n = 0
	}
	return n, b.err
}

// end returns io.EOF if the body has no more bytes.
func (b *measured) end() error {
	var one [1]byte
	_, err := io.ReadFull(b.body, one[:])
	if err == nil {
		err = errSize
	}
	return err
}
