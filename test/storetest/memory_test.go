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

func TestMemoryIsDamaged(t *testing.T) {
	m := new(Memory)
	Damaged(t, m, m.Damage)
}
