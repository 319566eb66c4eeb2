package httpclient

import (
	"context"
	"sync"
)

// A Lazy opens a client when it is first needed and keeps it until it is dropped.
type Lazy[C any] struct {
	mu     sync.Mutex // guards client; held while it is opened
	client *C
}

// Get returns the client, which open makes if there is none.
func (l *Lazy[C]) Get(ctx context.Context, open func(context.Context) (*C, error)) (*C, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		return l.client, nil
	}
	c, err := open(ctx)
	if err != nil {
		return nil, err
	}
	l.client = c
	return c, nil
}

// Use has Get return c; for tests.
func (l *Lazy[C]) Use(c *C) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client = c
}

// Drop forgets c and reports whether it was kept. The next Get reads the credentials
// anew: others may be there by then.
func (l *Lazy[C]) Drop(c *C) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != c {
		return false
	}
	l.client = nil
	return true
}
