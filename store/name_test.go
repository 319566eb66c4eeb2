package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// A page of workspaces begins after the last of the page before, in the order of the names
// that stores list, and with the ids that are asked for.
func TestPlacesOfWorkspaces(t *testing.T) {
	s := new(storetest.Memory)
	ids := []string{"a", "a-b", "a.c", "a_d", "aa", "b", "b-1"}
	for _, id := range ids {
		record, err := store.Record(id)
		given, givenErr := store.Vended(id, [8]byte{1}, time.Unix(1, 0))
		if err != nil || givenErr != nil {
			t.Fatal(err, givenErr)
		}
		for _, name := range []store.Name{record, given} {
			if err := s.Put(t.Context(), name, store.NewSecret("x"), store.CreateOnly); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.SortFunc(ids, store.CompareWorkspaces)
	for _, c := range []struct{ after, begin, want string }{
		{"", "", "a-b"},
		{"a-b", "", "a.c"},
		{"a.c", "", "a"},
		{"a", "", "a_d"},
		{"aa", "", "b-1"},
		{"b", "", ""},
		{"", "a", "a-b"},
		{"", "a_", "a_d"},
		{"", "b", "b-1"},
		{"b-1", "b", "b"},
		{"a", "b", "b-1"},
		{"", "c", ""},
	} {
		at, err := store.WorkspacesAfter(c.after, c.begin)
		if err != nil {
			t.Fatal(err)
		}
		names, err := s.Page(t.Context(), store.Workspaces(), at, 1)
		got := ""
		if len(names) > 0 {
			got, _ = names[0].Workspace()
		}
		if err != nil || got != c.want {
			t.Errorf("after %q, beginning with %q: %q, %v, want %q", c.after, c.begin, got, err, c.want)
		}
		next := slices.IndexFunc(ids, func(id string) bool {
			return c.begin == "" && (c.after == "" || store.CompareWorkspaces(id, c.after) > 0)
		})
		if c.begin == "" && (next < 0) != (c.want == "") || next >= 0 && ids[next] != c.want {
			t.Errorf("CompareWorkspaces has another order than the pages after %q", c.after)
		}
	}
	if at, err := store.WorkspacesAfter("../x", ""); err == nil {
		t.Errorf("WorkspacesAfter = %s, want an error for what is no workspace", at)
	}
}
