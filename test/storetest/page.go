package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

var pageTests = []test{
	{"pages are in the order of the names", pagesAreInOrder},
	{"pages go on while names come and go", pagesGoOn},
}

func page(t *testing.T, s store.Store, below store.Prefix, after store.Name, limit int) []store.Name {
	t.Helper()
	names, err := s.(store.Pager).Page(t.Context(), below, after, limit)
	if err != nil {
		t.Fatalf("Page(%s, %s) = %v", below, after, err)
	}
	if len(names) > limit {
		t.Fatalf("Page(%s, %s, %d) = %d names", below, after, limit, len(names))
	}
	return names
}

func pagesAreInOrder(t *testing.T, open func() store.Store) {
	s := open()
	// A folder's slash sorts after a hyphen or a dot in the same place.
	want := []string{
		"config/github/app-client-id",
		"sandbox/A/workspace", "sandbox/a-b/workspace", "sandbox/a.b/workspace", "sandbox/a/github-token", "sandbox/a/github-tokens/acme",
		"sandbox/a/github-tokens/octo", "sandbox/a/workspace", "sandbox/a0/workspace", "sandbox/a_b/workspace", "sandbox/ab/workspace", "sandbox/b/workspace",
	}
	for _, i := range []int{3, 1, 4, 11, 0, 9, 2, 6, 5, 8, 10, 7} {
		put(t, s, want[i], "x")
	}
	s = open()
	for limit := 1; limit <= len(want)+1; limit++ {
		checkPages(t, s, store.Everything(), limit, want...)
		checkPages(t, s, store.Workspaces(), limit, want[1:]...)
	}
	a, err := store.Workspace("a")
	if err != nil {
		t.Fatal(err)
	}
	checkPages(t, s, a, 2, want[4:8]...)
	if names := page(t, s, a, named(t, "sandbox/b/workspace"), 9); len(names) > 0 {
		t.Errorf("Page after all of the folder = %q, want nothing", names)
	}
	if names := page(t, s, a, named(t, "config/x"), 9); len(names) != 4 {
		t.Errorf("Page after what lies before the folder = %q, want all four", names)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if names, err := s.(store.Pager).Page(ended, store.Everything(), store.Name{}, 9); err == nil {
		t.Errorf("Page in a context that has ended = %q, want an error", names)
	}
}

func checkPages(t *testing.T, s store.Store, below store.Prefix, limit int, want ...string) {
	t.Helper()
	var got []string
	for after := (store.Name{}); ; {
		names := page(t, s, below, after, limit)
		for _, name := range names {
			got = append(got, name.String())
		}
		if len(names) < limit {
			break
		}
		after = names[len(names)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages of %d below %q = %q, want %q", limit, below, got, want)
	}
}

// An entry that exists the whole time is in exactly one page.
func pagesGoOn(t *testing.T, open func() store.Store) {
	s := open()
	for i := range 40 {
		put(t, s, fmt.Sprintf("sandbox/w%02d/workspace", i), "x")
	}
	seen := map[string]int{}
	for after := (store.Name{}); ; {
		names := page(t, s, store.Workspaces(), after, 7)
		for i, name := range names {
			if seen[name.String()]++; i%2 == 0 || i == len(names)-1 { // also the name that the next page begins after
				if err := s.Delete(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(t, s, fmt.Sprintf("sandbox/w00-%d/workspace", len(seen)), "x") // behind
		if len(names) < 7 {
			break
		}
		after = names[len(names)-1]
	}
	for i := range 40 {
		if name := fmt.Sprintf("sandbox/w%02d/workspace", i); seen[name] != 1 {
			t.Errorf("pages have %s %d times, want once", name, seen[name])
		}
	}
}

// PausesBetweenPages tests a store whose lists need a call for each ten names or fewer:
// the lists pause as [store.WithPause] says.
func PausesBetweenPages(t *testing.T, s store.Store) {
	t.Helper()
	const names = 31
	for i := range names {
		put(t, s, fmt.Sprintf("sandbox/w%02d/workspace", i), "x")
	}
	pauses := 0
	paced := store.WithPause(t.Context(), func(took time.Duration) error {
		if pauses++; took <= 0 {
			t.Errorf("pause %d is told that a call took %s", pauses, took)
		}
		return nil
	})
	if n, err := countList(paced, s); n != names || err != nil || pauses < 3 {
		t.Errorf("List = %d names, %v, with %d pauses; want %d names with 3 pauses", n, err, pauses, names)
	}
	errStop := errors.New("stop")
	stopped := store.WithPause(t.Context(), func(time.Duration) error { return errStop })
	if n, err := countList(stopped, s); n > 10 || !errors.Is(err, errStop) {
		t.Errorf("List = %d names, %v after the pause failed, want one page and the pause's error", n, err)
	}
	if pager, ok := s.(store.Pager); ok {
		if names, err := pager.Page(stopped, store.Workspaces(), store.Name{}, names); !errors.Is(err, errStop) {
			t.Errorf("Page = %d names, %v after the pause failed, want the pause's error", len(names), err)
		}
	}
}

func countList(ctx context.Context, s store.Store) (n int, err error) {
	for _, err := range s.List(ctx, store.Workspaces()) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
