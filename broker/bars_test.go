package broker

import (
	"context"
	"testing"

	"github.com/gatepass/gatepass/store"
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

// A store whose volume is gone looks as if nobody was barred.
func TestBarsOutliveTheStore(t *testing.T) {
	b := newBench(t)
	mounted := new(storetest.Memory)
	if err := mounted.Put(t.Context(), store.AppClientID(), store.NewSecret("Iv1.0"), store.Replace); err != nil {
		t.Fatal(err)
	}
	bars := &Bars{Store: mounted, Now: b.Now}
	if err := bars.Bar(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	if barred, err := bars.Barred(t.Context(), "sb-1"); !barred || err != nil {
		t.Fatalf("Barred = %v, %v, want it barred", barred, err)
	}
	bars.Store = new(storetest.Memory)
	b.Advance(barsEvery)
	if barred, err := bars.Barred(t.Context(), "sb-1"); !barred || err != nil {
		t.Errorf("without its volume: Barred = %v, %v, want it barred still", barred, err)
	}
	b.Advance(2 * barsStale)
	if _, err := bars.Barred(t.Context(), "sb-2"); err == nil {
		t.Error("without its volume for long, a workspace is let in")
	}
	bars.Store = mounted
	if err := (&Bars{Store: mounted}).Admit(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	b.Advance(barsEvery)
	if barred, err := bars.Barred(t.Context(), "sb-1"); barred || err != nil {
		t.Errorf("admitted by another replica: Barred = %v, %v, want it let in", barred, err)
	}
}
