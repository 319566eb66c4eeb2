//go:build unix && !linux

package forward

import (
	"io"
	"os"
	"time"
)

// bounded returns r with a deadline if r is a file: later reads fail with
// os.ErrDeadlineExceeded.
func bounded(r io.Reader, deadline time.Time) io.Reader {
	if f, ok := r.(*os.File); ok {
		return boundedFile{f, deadline}
	}
	return r
}

type boundedFile struct {
	f        *os.File
	deadline time.Time
}

func (b boundedFile) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	own := make([]byte, len(p)) // a read that ends too late must not write into p
	go func() {
		n, err := b.f.Read(own)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, own[:r.n]), r.err
	case <-time.After(time.Until(b.deadline)):
		return 0, os.ErrDeadlineExceeded
	}
}
