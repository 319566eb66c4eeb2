package broker

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/store"
)

// Brokers on one store, and a restarted one, mint one token for a scope. Each records
// in its own audit log which workspace got it, and the store has one entry for each
// workspace.
func TestBrokersShareATokenThroughTheirStore(t *testing.T) {
	b := newBench(t)
	hashes := map[string]bool{}
	for _, workspace := range []string{"x", "y", "x", "y"} {
		b.journal = new(paper)
		b.start(Config{})
		if got := b.token(workspace, "acme/widgets", "read"); got.Code != http.StatusOK {
			t.Fatalf("answer = %d %s", got.Code, got.Body)
		}
		last := b.journal.entries[len(b.journal.entries)-1]
		if hashes[last.Hash] = true; last.Kind != KindRequest || last.Workspace != workspace || last.Decision != Granted {
			t.Errorf("the audit log says %+v, want that %s was given it", last, workspace)
		}
	}
	if b.mints() != 1 || len(hashes) != 1 {
		t.Errorf("%d tokens are minted and %d given, want one", b.mints(), len(hashes))
	}
	for _, workspace := range []string{"x", "y"} {
		if n := b.vended(workspace); n != 1 {
			t.Errorf("the store has %d entries of %s, want one", n, workspace)
		}
	}
}

// A shared token from the store is not given to a caller that the policy refuses, or
// that is blocked.
func TestASharedTokenGoesThroughTheChain(t *testing.T) {
	b := newBench(t)
	if got := b.token("x", "acme/widgets", "read"); got.Code != http.StatusOK {
		t.Fatalf("answer = %d %s", got.Code, got.Body)
	}
	b.start(Config{})
	if err := b.blocks.Add(t.Context(), blocklist.Target{Workspace: "x"}); err != nil {
		t.Fatal(err)
	}
	if got := b.token("x", "acme/widgets", "read"); got.Code != http.StatusForbidden {
		t.Errorf("the blocked workspace is answered %d %s, want 403", got.Code, got.Body)
	}
	b.policy = b.narrower()
	if got := b.token("y", "acme/widgets", "read"); got.Code != http.StatusForbidden {
		t.Errorf("what the policy refuses is answered %d %s, want 403", got.Code, got.Body)
	}
}

// unshared is a store in which one kind of call about shared tokens fails.
type unshared struct {
	store.Store
	creates, replaces, gets bool // fail
}

var errNoSpace = errors.New("no space")

func (u unshared) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	if n.IsShared() && (u.creates && mode == store.CreateOnly || u.replaces && mode == store.Replace) {
		return errNoSpace
	}
	return u.Store.Put(ctx, n, v, mode)
}

func (u unshared) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	if u.gets && n.IsShared() {
		return store.Entry{}, errNoSpace
	}
	return u.Store.Get(ctx, n)
}

// A token that the store cannot take, so that a revocation would miss it, is not given.
// It is revoked, and the audit log says so. If that is known before, no token is
// minted.
func TestATokenThatCannotBeKeptForAllIsRevoked(t *testing.T) {
	for _, c := range []struct {
		name  string
		store unshared
		mints int
		kinds []string
	}{
		{"the token cannot be written", unshared{replaces: true}, 1, []string{"intent", "minted refused", "request refused"}},
		{"no replica can claim the mint", unshared{creates: true}, 0, []string{"request refused"}},
		{"the store cannot be read", unshared{gets: true}, 0, []string{"request refused"}},
	} {
		b := newBench(t)
		c.store.Store = b.store
		b.start(Config{Store: c.store})
		got := b.token("x", "acme/widgets", "read")
		if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" || b.mints() != c.mints || len(b.Tokens()) != 0 {
			t.Errorf("%s: %d %s, %d mints and %d tokens alive, want 503, %d and none", c.name, got.Code, got.Body, b.mints(), len(b.Tokens()), c.mints)
		}
		if kinds := b.journal.kinds(); !slices.Equal(kinds, c.kinds) {
			t.Errorf("%s: the audit log has %q, want %q", c.name, kinds, c.kinds)
		}
		b.start(Config{})
		if got := b.token("x", "acme/widgets", "read"); got.Code != http.StatusOK {
			t.Errorf("%s: with the store in order, %d %s, want 200", c.name, got.Code, got.Body)
		}
	}
}

// A token's entry has its expiry in the name, so that it is deleted without being read.
func TestSharedEntriesSayWhenTheyEnd(t *testing.T) {
	b := newBench(t)
	b.token("x", "acme/widgets", "read")
	n := 0
	for name, err := range b.store.List(t.Context(), store.AllShared()) {
		ends, ok := name.Ends()
		if err != nil || !ok || ends.Before(b.Now().Add(time.Hour-time.Minute)) || ends.After(b.Now().Add(2*time.Hour)) {
			t.Errorf("%s ends %v, %v, want within two hours", name, ends, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("the store has %d shared entries, want one", n)
	}
}
