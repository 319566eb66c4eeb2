package console

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/store"
)

// slow is a store that lists workspaces once gate lets it.
type slow struct {
	store.Store
	gate  chan struct{}
	lists atomic.Int32
	fails atomic.Bool
}

func (s *slow) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	if below != store.Workspaces() {
		return s.Store.List(ctx, below)
	}
	s.lists.Add(1)
	return func(yield func(store.Name, error) bool) {
		select {
		case <-s.gate:
		case <-ctx.Done():
		}
		if s.fails.Load() {
			yield(store.Name{}, errors.New("the store is away"))
			return
		}
		s.Store.List(ctx, below)(yield)
	}
}

// ids are those of the workspaces that operators see.
func (b *bench) ids() string {
	b.T.Helper()
	var ids []string
	for _, w := range operate[api.WorkspacePage](b, "GET", api.WorkspacesPath, "", 200).Workspaces {
		ids = append(ids, w.ID)
	}
	return strings.Join(ids, " ")
}

// A store that takes long is waited for once, and afterwards shows what it had.
func TestAListingThatTakesLong(t *testing.T) {
	b := newBench(t)
	s := &slow{Store: b.Store, gate: make(chan struct{}, 10)}
	b.console.listing.store, b.console.listing.patience = s, 10*time.Millisecond
	b.MustToken("sb-1", "acme/widgets", "read")
	s.gate <- struct{}{}
	if got := b.ids(); got != "sb-1" {
		t.Fatalf("the first listing has %q, want sb-1", got)
	}
	b.MustToken("sb-2", "acme/widgets", "read")
	operate[api.Revocation](b, "POST", "/v1/workspaces/sb-1/revoke", "", 200)
	b.Advance(time.Minute)
	for range 3 {
		if got := b.ids(); got != "sb-1" {
			t.Errorf("while the store takes long: %q, want sb-1 of before", got)
		}
	}
	if n := s.lists.Load(); n != 2 {
		t.Errorf("the store was asked %d times, want twice", n)
	}
	page := operate[api.WorkspacePage](b, "GET", api.WorkspacesPath, "", 200)
	if age := b.Now().Sub(page.AsOf); age < time.Minute || !page.Workspaces[0].Barred || len(page.Workspaces[0].Tokens) != 0 {
		t.Errorf("page = %+v of %v ago, want what is barred and dead to be so now", page, age)
	}
	if text := b.Do("night", "GET", "/", "").Body.String(); !strings.Contains(text, "the store takes long") {
		t.Errorf("the page does not say that its list is old: %s", text)
	}
	close(s.gate)
	b.console.listing.patience = time.Minute
	if got := b.ids(); got != "sb-1 sb-2" {
		t.Errorf("in the end: %q, want both", got)
	}
}

func TestAListingThatFails(t *testing.T) {
	b := newBench(t)
	s := &slow{Store: b.Store, gate: make(chan struct{})}
	close(s.gate)
	b.console.listing.store = s
	b.MustToken("sb-1", "acme/widgets", "read")
	for _, fails := range []bool{true, false, true} {
		s.fails.Store(fails)
		want := 200
		if fails {
			want = 503
		}
		wantCode(t, "the list", b.Do("night", "GET", api.WorkspacesPath, ""), want)
	}
	s.fails.Store(false)
	s.gate = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fresh := listing{store: s, now: b.Now}
	if _, err := fresh.get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("get by one who gave up = %v", err)
	}
	close(s.gate)
	if got, err := fresh.get(t.Context()); err != nil || len(got.names["sb-1"]) == 0 {
		t.Errorf("get by the next = %v, %v, want sb-1", got, err)
	}
}
