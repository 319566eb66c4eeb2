package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
)

// tallied is a store without optional interfaces that counts calls, except those for
// records.
type tallied struct {
	store.Store
	writes, deletes, reads int
}

func (s *tallied) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	if !n.IsRecord() {
		s.reads++
	}
	return s.Store.Get(ctx, n)
}

func (s *tallied) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	s.writes++
	return s.Store.Put(ctx, n, v, mode)
}

func (s *tallied) Delete(ctx context.Context, n store.Name) error {
	s.deletes++
	return s.Store.Delete(ctx, n)
}

func (s *tallied) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	if below != store.Workspaces() {
		s.reads++
	}
	return s.Store.List(ctx, below)
}

// docs/refresher.md states the true cost of a round.
func TestTheDocsSayWhatARoundCosts(t *testing.T) {
	docs, err := os.ReadFile("../../docs/refresher.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.settle("sb-1")
	r := w.refresher()
	s := &tallied{Store: w.store}
	r.apps = issuing.Loader{Store: s}
	for range 2 {
		*s = tallied{Store: w.store}
		if _, err := w.refresh(r, request{}); err != nil {
			t.Fatal(err)
		}
	}
	line := fmt.Sprintf("| a round with nothing due, for an App that is installed twice | %d | %d | %d |\n", s.writes, s.deletes, s.reads)
	if !strings.Contains(string(docs), line) {
		t.Errorf("docs/refresher.md lacks the line\n%s", line)
	}
}
