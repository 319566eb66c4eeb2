package storetest

import (
	"errors"
	"testing"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// Damaged tests what [store.Store] requires for entries that exist and have no valid
// value. damage must make such an entry, as another program would.
func Damaged(t *testing.T, s store.Store, damage func(store.Name)) {
	t.Helper()
	const names = "sandbox/w1/workspace sandbox/w2/workspace sandbox/w3/workspace"
	for _, id := range []string{"w1", "w2", "w3"} {
		put(t, s, "sandbox/"+id+"/workspace", "whole")
	}
	bad, err := store.Record("w2")
	if err != nil {
		t.Fatal(err)
	}
	damage(bad)
	if entry, err := s.Get(t.Context(), bad); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("Get = %v, %v, want ErrDamaged", entry, err)
	}
	whole, damaged := 0, 0
	for e, err := range store.Records(t.Context(), s) {
		switch {
		case err == nil && e.Value.Reveal() == "whole":
			whole++
		case e.Name == bad && errors.Is(err, store.ErrDamaged):
			damaged++
		default:
			t.Errorf("Records yields %v, %v of %s", e.Name, err, names)
		}
	}
	if whole != 2 || damaged != 1 {
		t.Errorf("Records yields %d that are whole and %d that are damaged, want 2 and 1", whole, damaged)
	}
	if err := s.Put(t.Context(), bad, store.NewSecret("x"), store.CreateOnly); !errors.Is(err, store.ErrExists) {
		t.Errorf("Put over it = %v, want ErrExists", err)
	}
	put(t, s, bad.String(), "again")
	checkValue(t, s, bad.String(), "again")
	damage(bad)
	if err := s.Delete(t.Context(), bad); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if _, err := s.Get(t.Context(), bad); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of what was deleted = %v, want ErrNotFound", err)
	}
}

// Damage makes an entry that exists and has no valid value.
func (m *Memory) Damage(name store.Name) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.folders[folder(name.String())][name] = store.Entry{}
}

// damage returns the error of reading a damaged entry.
func damage(what string) error { return &usererr.Error{Op: what, Err: store.ErrDamaged} }
