package storetest

import (
	"fmt"
	"testing"

	"github.com/gatepass/gatepass/store"
)

// manyAreDeleted deletes more entries than a store takes with one call, some of which
// do not exist.
func manyAreDeleted(t *testing.T, open func() store.Store) {
	s := open()
	var names []store.Name
	for k := range 23 {
		name := fmt.Sprintf("broker/spent/%02d", k)
		if k%5 > 0 {
			put(t, s, name, "x")
		}
		names = append(names, named(t, name))
	}
	put(t, s, "broker/spent/230", "kept")
	for range 2 {
		if err := s.(store.Deleter).DeleteAll(t.Context(), names); err != nil {
			t.Fatalf("DeleteAll = %v", err)
		}
		checkNames(t, s, store.Everything(), "broker/spent/230")
	}
	if err := s.(store.Deleter).DeleteAll(t.Context(), nil); err != nil {
		t.Errorf("DeleteAll of nothing = %v", err)
	}
	if err := s.(store.Deleter).DeleteAll(t.Context(), []store.Name{named(t, "broker/spent/230"), {}}); err == nil {
		t.Error("DeleteAll takes the zero name")
	}
}
