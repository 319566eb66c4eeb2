package console

import (
	"context"
	"sync"
	"time"

	"github.com/gatepass/gatepass/store"
)

const (
	// listingPatience is how long a request waits for the store while there is an
	// earlier listing; AWS's Parameter Store takes a minute for ten thousand
	// workspaces.
	listingPatience = 2 * time.Second
	listingTime     = 5 * time.Minute
)

// A listing is which entries workspaces have, as the store said last. It is read
// anew for every request, once for all that come meanwhile.
type listing struct {
	store    store.Store
	now      func() time.Time
	patience time.Duration // 0 means listingPatience

	mu    sync.Mutex // guards the rest
	last  listed     // zero until the first is there
	under *reading   // nil while none is under way
}

// listed is what was found. It is never written to.
type listed struct {
	names map[string][]store.Name // by workspace
	asOf  time.Time               // when the store was first asked for it
}

// reading is one listing under way.
type reading struct {
	done chan struct{} // closed when the others are set
	listed
	err error
}

// get returns the entries by workspace, and of when they are. It is an earlier
// listing where the store takes long, and an error where the store fails.
func (l *listing) get(ctx context.Context) (listed, error) {
	r, last := l.begin(ctx)
	patience := l.patience
	if patience == 0 {
		patience = listingPatience
	}
	var late <-chan time.Time
	if last.names != nil {
		t := time.NewTimer(patience)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-r.done:
		return r.listed, r.err
	case <-late:
		return last, nil
	case <-ctx.Done():
		return listed{}, ctx.Err()
	}
}

// begin returns the listing under way, or a new one, and the one before it.
func (l *listing) begin(ctx context.Context) (*reading, listed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.under == nil {
		l.under = &reading{done: make(chan struct{})}
		go l.read(context.WithoutCancel(ctx), l.under)
	}
	return l.under, l.last
}

// read is for all who wait, whoever of them gives up.
func (l *listing) read(ctx context.Context, r *reading) {
	ctx, cancel := context.WithTimeout(ctx, listingTime)
	defer cancel()
	r.asOf = l.now()
	r.names, r.err = byWorkspace(ctx, l.store, store.Workspaces())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.under = nil; r.err == nil {
		l.last = r.listed
	}
	close(r.done)
}

// byWorkspace lists what the store has below a prefix.
func byWorkspace(ctx context.Context, s store.Store, below store.Prefix) (map[string][]store.Name, error) {
	names := map[string][]store.Name{}
	for name, err := range s.List(ctx, below) {
		if err != nil {
			return nil, err
		}
		if id, ok := name.Workspace(); ok {
			names[id] = append(names[id], name)
		}
	}
	return names, nil
}
