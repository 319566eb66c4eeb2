package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
)

// A Janitor goes over what brokers wrote down as given: what a barred workspace
// has is revoked, through a restart of whoever barred it, and what has run out is
// forgotten.
type Janitor struct {
	Store   store.Store
	Bars    *Bars
	Keeper  *Keeper
	Cache   *Cache // may be nil
	Journal Journal
	Revoke  func(context.Context, credential.Token) error
	Batch   int              // entries that are read in one pass; 0 means 256
	Now     func() time.Time // nil means time.Now

	expiry map[store.Name]time.Time // of entries that were read: each is read once
}

const (
	janitorBatch = 256

	// keepDead is how long an entry stays after its token ran out, for clocks
	// that differ.
	keepDead = 5 * time.Minute
)

func (j *Janitor) now() time.Time {
	if j.Now == nil {
		return time.Now()
	}
	return j.Now()
}

// A Swept is what one pass did.
type Swept struct {
	Revoked, Forgotten int
	More               bool // the batch was used up before all was looked at
}

// Sweep makes one pass. It is not called concurrently. What goes wrong with one
// entry does not keep it from the others.
func (j *Janitor) Sweep(ctx context.Context) (Swept, error) {
	var s Swept
	left := j.Batch
	if left <= 0 {
		left = janitorBatch
	}
	seen := map[store.Name]time.Time{}
	var bad []error
	for name, err := range j.Store.List(ctx, store.Workspaces()) {
		if err != nil {
			return s, errors.Join(append(bad, err)...)
		}
		if !name.IsVended() {
			continue
		}
		if left == 0 {
			s.More = true
			break
		}
		isRead, err := j.look(ctx, name, &s)
		if isRead {
			left--
		}
		if err != nil {
			bad = append(bad, err)
		}
		if until, ok := j.expiry[name]; ok {
			seen[name] = until
		}
	}
	if !s.More {
		j.expiry = seen // without those that are gone
	}
	return s, errors.Join(bad...)
}

// look does what one entry needs. isRead says that the store was asked for it.
func (j *Janitor) look(ctx context.Context, name store.Name, s *Swept) (isRead bool, err error) {
	id, _ := name.Workspace()
	isBarred, err := j.Bars.Barred(ctx, id)
	if err != nil {
		return false, err // what is wrong with the store does not bar anybody here
	}
	until, isKnown := j.expiry[name]
	if !isBarred && isKnown && j.now().Before(until) {
		return false, nil
	}
	entry, err := j.Store.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	t, err := credential.ParseToken([]byte(entry.Value.Reveal()), entry.Modified)
	if err != nil {
		return true, fmt.Errorf("read %s: %w", name, err)
	}
	if j.expiry == nil {
		j.expiry = map[store.Name]time.Time{}
	}
	j.expiry[name] = t.Expiry.Add(keepDead)
	switch {
	case !j.now().Before(j.expiry[name]):
		s.Forgotten++
		return true, j.Store.Delete(ctx, name)
	case isBarred:
		s.Revoked++
		return true, j.revoke(ctx, id, name, t)
	}
	return true, nil
}

// revoke ends a token, and then writes that down and forgets it. Others may have
// been given the same token, so it is marked first: no broker gives it any more.
func (j *Janitor) revoke(ctx context.Context, id string, name store.Name, t credential.Token) error {
	if j.Cache != nil {
		j.Cache.Drop(func(_ Scope, have credential.Token) bool { return !have.IsZero() && have.Secret() == t.Secret() })
	}
	if err := j.Bars.BarToken(ctx, t); err != nil {
		return err
	}
	if err := j.Revoke(ctx, t); err != nil {
		return fmt.Errorf("revoke a token of workspace %s, which is barred: %w", id, err)
	}
	e := Entry{Time: j.now().UTC(), Kind: KindRevoked, Workspace: id, Hash: t.Hash(), Expires: t.Expiry.UTC(), Detail: "the workspace is barred"}
	if err := j.Journal.Write(ctx, e, true); err != nil {
		return err
	}
	j.Keeper.Forget(id)
	return j.Store.Delete(ctx, name)
}
