package broker

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A timed is a response whose connection has deadlines.
type timed struct {
	http.ResponseWriter
	read, write time.Time
}

func (t *timed) SetReadDeadline(d time.Time) error  { t.read = d; return nil }
func (t *timed) SetWriteDeadline(d time.Time) error { t.write = d; return nil }

// The end of an answer is still with net/http when its handler is done: a client that
// does not take it holds a stream for no longer than the rest.
func TestDeadlinesAfterBodies(t *testing.T) {
	w := &timed{ResponseWriter: httptest.NewRecorder()}
	var b BodyLimiter
	nothing := func() error { return nil }
	if err := b.Write(w, "192.0.2.1", 10, nothing); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(w.write); left <= 0 || left > bodyTime {
		t.Errorf("after an answer its end has %v, want up to %v", left, bodyTime)
	}
	if err := b.Read(w, "192.0.2.1", 10, nothing); err != nil || !w.read.IsZero() {
		t.Errorf("after a body the connection is read until %v, %v, want no end of that", w.read, err)
	}
	if err := b.Read(w, "192.0.2.1", 10, func() error { return errors.New("broken") }); err == nil || w.read.IsZero() {
		t.Errorf("after a body that broke off: %v, read until %v, want the error and its deadline", err, w.read)
	}
}
