package broker

import (
	"context"
	"testing"

	"github.com/gatepass/gatepass/store/storetest"
)

// A workspace that goes on asking and going away does not keep a replica from
// learning that it is barred.
func TestBarsAreReadForWhoeverWentAway(t *testing.T) {
	in := new(storetest.Memory)
	if err := (&Bars{Store: in}).Bar(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	replica := &Bars{Store: in}
	if barred, err := replica.Barred(gone, "sb-1"); !barred || err != nil {
		t.Errorf("Barred = %v, %v, want it barred", barred, err)
	}
}
