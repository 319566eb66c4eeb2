package broker

import (
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/fairshare"
)

const (
	maxBodies = 64
	// bodyTime is for a whole body. All come with their headers but those of who
	// wants to be in the way.
	bodyTime  = 5 * time.Second
	bodyCount = 64 << 10 // bytes; see Bodies.Each
)

// Bodies limits how many bodies are read or written at once, since a slow client holds a
// place among all requests. 64 run at once, for five seconds each. When one more comes,
// the one that [fairshare.Pool] evicts is given up.
type BodyLimiter struct {
	// Each is what a body counts for at least, in bytes: 64 times as many are let be
	// at once. 0 means 64 KiB.
	Each int64

	once sync.Once
	room fairshare.Pool
}

// Read calls read, which reads the body of a request to its end. from is whom to count it
// for, and size is what it has at most, in bytes. The body ends with
// [os.ErrDeadlineExceeded] where it took too long, or is in the way.
func (b *BodyLimiter) Read(w http.ResponseWriter, from string, size int64, read func() error) error {
	deadline := http.NewResponseController(w).SetReadDeadline
	err := b.limit(from, size, deadline, read)
	if err == nil {
		_ = deadline(time.Time{}) // or its end would look as if the client had gone
	}
	return err
}

// Write calls write, which answers with a body of so many bytes. For what net/http
// still has of the answer then there are another five seconds.
func (b *BodyLimiter) Write(w http.ResponseWriter, from string, size int64, write func() error) error {
	deadline := http.NewResponseController(w).SetWriteDeadline
	err := b.limit(from, size, deadline, write)
	if err == nil {
		_ = deadline(time.Now().Add(bodyTime)) // or a client could take for ever over the end
	}
	return err
}

func (b *BodyLimiter) limit(from string, size int64, deadline func(time.Time) error, do func() error) error {
	b.once.Do(func() {
		if b.Each == 0 {
			b.Each = bodyCount
		}
		b.room.Size, b.room.EvictOldest = maxBodies*b.Each, true
	})
	until := func(t time.Time) { _ = deadline(t) } // where there is no connection there is nothing to wait for
	until(time.Now().Add(bodyTime))
	leave, ok := b.room.Acquire(from, max(size, b.Each), func() { until(time.Unix(1, 0)) })
	if !ok {
		return &Refusal{Status: http.StatusRequestEntityTooLarge, Reason: ReasonRequest, Detail: "the request is too large"}
	}
	defer leave()
	return do()
}
