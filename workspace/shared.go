package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// maxOutages is how many requests in a row GitHub may leave unanswered before a
// pass takes it for down.
const maxOutages = 5

// shared is what the runs of one pass learn from each other: which installations
// there are, and what is not worth asking again. Without it, an App that was
// uninstalled would cost a request for every workspace, and a GitHub that is down
// a minute. A nil shared knows nothing.
type passCache struct {
	mu        sync.Mutex // guards the rest; held while the store or GitHub is asked about installations
	isLoaded  bool
	known     []mint.Installation
	changed   time.Time                    // when the latest of them was written
	asked     map[string]mint.Installation // owners, in lower case, found by asking GitHub
	failed    map[string]error             // owners that are not worth asking about again
	everybody error                        // nobody's token can be had
	until     time.Time                    // everybody holds until then; zero for the whole pass
	outages   int
	others    map[string]*passCache // of the further Apps of a pool, by name

	blocks *store.Blocks // as they were when the pass began; nil outside of a pass over all. Written before runs begin
}

// app returns what is shared about another App of the pool.
func (s *passCache) app(name string) *passCache {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.others == nil {
		s.others = map[string]*passCache{}
	}
	if s.others[name] == nil {
		s.others[name] = new(passCache)
	}
	return s.others[name]
}

// blocks returns what is blocked. Those that the pass read count where they leave the
// workspace alone and each of its owners has a live token: then nobody has withdrawn any
// before this run, and who does so after it takes the new ones. In any other case they
// are read now.
func (i *Issuer) blocks(ctx context.Context, r *Record) (store.Blocks, error) {
	if i.cache == nil || i.cache.blocks == nil {
		return store.ReadBlocks(ctx, i.Store)
	}
	ends := r.ends()
	isOpen := func(owner string) bool { return i.cache.blocks.Has(r.ID, owner) || !ends[owner].After(i.now()) }
	if i.cache.blocks.Has(r.ID, "") || slices.ContainsFunc(r.wanted, isOpen) {
		return store.ReadBlocks(ctx, i.Store)
	}
	return *i.cache.blocks, nil
}

// stored returns the installations of the store, read once.
func (s *passCache) stored(ctx context.Context, i *Issuer) ([]mint.Installation, error) {
	from := i.Store
	if i.ofApp != nil {
		from = i.ofApp
	}
	if s == nil {
		return StoredInstallations(ctx, from)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isLoaded {
		return s.known, nil
	}
	known, changed, err := storedInstallations(ctx, from)
	if err == nil {
		s.known, s.changed, s.isLoaded = known, changed, true
	}
	return known, err
}

// latest is when the latest installation was written, of all Apps of a pool.
func (s *passCache) latest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.changed
	for _, other := range s.others {
		if at := other.latest(); at.After(last) {
			last = at
		}
	}
	return last
}

// of returns the installation on an account as GitHub knows it, asked once.
func (s *passCache) of(ctx context.Context, i *Issuer, owner string) (mint.Installation, error) {
	if s == nil {
		return i.App.InstallationOf(ctx, owner)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed[owner]; err != nil {
		return mint.Installation{}, err
	}
	if found, ok := s.asked[owner]; ok {
		return found, nil
	}
	found, err := i.App.InstallationOf(ctx, owner)
	if err != nil {
		s.remember(owner, err, i.now())
		return found, err
	}
	if s.asked == nil {
		s.asked = map[string]mint.Installation{}
	}
	s.asked[owner] = found
	return found, nil
}

// closed returns why an owner's token is not asked for.
func (s *passCache) closed(owner string, now time.Time) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.everybody != nil && (s.until.IsZero() || s.until.After(now)) {
		return s.everybody
	}
	return s.failed[strings.ToLower(owner)]
}

// learn takes note of what GitHub said about an owner's token.
func (s *passCache) learn(owner string, err error, now time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.outages = 0
		return
	}
	s.remember(strings.ToLower(owner), err, now)
}

// remember keeps an error that others would get as well.
func (s *passCache) remember(owner string, err error, now time.Time) {
	failure, ok := errors.AsType[*mint.Error](err)
	if !ok {
		return
	}
	switch failure.Kind {
	case mint.BadKey, mint.Unsigned:
		s.everybody, s.until = err, time.Time{}
	case mint.RateLimited:
		s.everybody = &usererr.Error{Op: "refresh", Reason: "left to the next pass: " + failure.Message, Err: ErrDeferred}
		s.until = now.Add(max(failure.RetryAfter, time.Minute))
	case mint.Unavailable:
		if s.outages++; s.outages >= maxOutages {
			s.everybody, s.until = fmt.Errorf("%w, %d times in a row", err, s.outages), time.Time{}
		}
	case mint.Suspended, mint.NotInstalled:
		if s.failed == nil {
			s.failed = map[string]error{}
		}
		s.failed[owner] = err
	}
}
