package storetest

import (
	"testing"

	"github.com/gatepass/gatepass/store"
)

func TestMemoryConforms(t *testing.T) {
	Run(t, func(*testing.T) func() store.Store {
		m := new(Memory)
		return func() store.Store { return m }
	})
}

// What passes for a store without optional interfaces is tested as one.
func TestPlainHasNoOptionalInterfaces(t *testing.T) {
	if tests := optional(new(Memory)); len(tests) < 10 {
		t.Errorf("Memory has %d tests of optional interfaces, want all", len(tests))
	}
	if tests := optional(Plain(new(Memory))); tests != nil {
		t.Errorf("Plain has %d tests of optional interfaces, want none", len(tests))
	}
}

func TestMemoryIsDamaged(t *testing.T) {
	m := new(Memory)
	Damaged(t, m, m.Damage)
}
