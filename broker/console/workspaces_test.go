package console

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/brokertest"
)

// pagedStore counts lists of all workspaces, and the names in its pages.
type pagedStore struct {
	store.Store
	lists, paged atomic.Int64
}

func (p *pagedStore) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	if below == store.Workspaces() || below == store.Everything() {
		p.lists.Add(1)
	}
	return p.Store.List(ctx, below)
}

func (p *pagedStore) Page(ctx context.Context, below store.Prefix, after store.Name, limit int) ([]store.Name, error) {
	names, err := p.Store.(store.Pager).Page(ctx, below, after, limit)
	p.paged.Add(int64(len(names)))
	return names, err
}

// unpaged is a store without pages.
type unpaged struct{ store.Store }

// Operators page through all workspaces, each once, including blocked ones without
// tokens, whatever characters their ids have.
func TestPagesHaveEachWorkspaceOnce(t *testing.T) {
	for name, in := range map[string]func(store.Store) store.Store{
		"a store with pages":    func(s store.Store) store.Store { return s },
		"a store without pages": func(s store.Store) store.Store { return unpaged{s} },
	} {
		g := brokertest.NewGitHub(t)
		b := newReplicaOn(g, in(g.Store))
		ids := []string{"sb-1", "sb-1.2", "sb-1-2", "sb-1_2", "sb-10", "sb-2"}
		for _, id := range ids {
			b.MustToken(id, "acme/widgets", "read")
		}
		for _, id := range []string{"sb-0", "sb-1-3", "sb-9"} {
			operate[api.Revocation](b, "POST", "/v1/kill", `{"workspace":"`+id+`"}`, 200)
			ids = append(ids, id)
		}
		for _, begin := range []string{"", "sb-1", "sb-1-"} {
			for _, limit := range []string{"1", "2", "100"} {
				var got []string
				for next, more := "", true; more; more = next != "" {
					page := operate[api.WorkspacePage](b, "GET", "/v1/workspaces?limit="+limit+"&after="+next+"&prefix="+begin, "", 200)
					for _, w := range page.Workspaces {
						got = append(got, w.ID)
					}
					next = page.Next
				}
				want := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !strings.HasPrefix(id, begin) })
				slices.SortFunc(want, store.CompareWorkspaces)
				if !slices.Equal(got, want) {
					t.Errorf("%s: pages of %s with the prefix %q have %q, want %q", name, limit, begin, got, want)
				}
			}
		}
	}
}

// The cost of a page depends on what is on it, not on the number of workspaces.
func TestAPageListsWhatIsOnIt(t *testing.T) {
	g := brokertest.NewGitHub(t)
	for i := range 3000 {
		record, err := store.Record("w" + string(rune('a'+i%26)) + strings.Repeat("x", i/26))
		if err == nil {
			err = g.Store.Put(t.Context(), record, store.NewSecret("{}"), store.CreateOnly)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s := &pagedStore{Store: g.Store}
	b := newReplicaOn(g, s)
	wantCode(t, "the page", b.Do("night", "GET", "/", ""), 200)
	operate[api.WorkspacePage](b, "GET", "/v1/workspaces?limit=10&after=wm", "", 200)
	if lists, paged := s.lists.Load(), s.paged.Load(); lists != 0 || paged > 1000 {
		t.Errorf("two views list all workspaces %d times and %d names, want none and two pages at most", lists, paged)
	}
	if err := b.Blocklist.Add(t.Context(), blocklist.Target{Workspace: "wa"}); err != nil {
		t.Fatal(err)
	}
	b.Advance(time.Second)
	got := b.Do("night", "GET", revokePath+"?kind=owner&name=acme", "")
	if wantCode(t, "the question", got, 200); s.lists.Load() != 0 {
		t.Errorf("the question before an account is blocked lists all workspaces")
	}
}
