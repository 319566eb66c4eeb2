package broker

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
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

// What one replica takes holds there at once, and at the others when they have read
// the store again; so does what it gives back.
func TestEveryTargetIsTakenAndGivenBack(t *testing.T) {
	type asked struct {
		workspace, owner string
		want             bool
	}
	for _, c := range []struct {
		target Target
		said   string
		asked  []asked
	}{
		{Target{Workspace: "acme"}, "workspace acme", []asked{{"acme", "", true}, {"acme", "octo", true}, {"sb-1", "acme", false}}},
		{Target{Owner: "Acme"}, "owner Acme", []asked{{"sb-1", "acme", true}, {"sb-1", "ACME", true}, {"acme", "octo", false}, {"sb-1", "", false}}},
		{Target{App: true}, "everything of the App", []asked{{"sb-1", "", true}, {"sb-1", "octo", true}}},
	} {
		in, clock := new(storetest.Memory), time.Now()
		if err := in.Put(t.Context(), store.AppClientID(), store.NewSecret("Iv1.0"), store.Replace); err != nil {
			t.Fatal(err)
		}
		now := func() time.Time { return clock }
		var took []store.Bars
		here, there := &Bars{Store: in, Now: now}, &Bars{Store: in, Now: now, Took: func(b store.Bars) { took = append(took, b) }}
		expect := func(when string, b *Bars, isBarred bool) {
			t.Helper()
			for _, a := range c.asked {
				if got, err := b.BarredFor(t.Context(), a.workspace, a.owner); err != nil || got != (a.want && isBarred) {
					t.Errorf("%s, %s: BarredFor(%s, %s) = %v, %v, want %v", c.target, when, a.workspace, a.owner, got, err, a.want && isBarred)
				}
			}
		}
		expect("at first", here, false)
		expect("at first elsewhere", there, false)
		if err := here.Take(t.Context(), c.target); err != nil {
			t.Fatal(err)
		}
		expect("once taken", here, true)
		clock = clock.Add(barsEvery)
		expect("once taken elsewhere", there, true)
		if len(took) != 1 || took[0].Has("acme", "acme") != true {
			t.Errorf("%s: the other replica is told of %+v, want the bar once", c.target, took)
		}
		if all, err := there.All(t.Context()); err != nil || all.IsEmpty() || !all.Without(took[0]).IsEmpty() {
			t.Errorf("%s: All = %+v, %v, want the bar alone", c.target, all, err)
		}
		if err := here.Lift(t.Context(), c.target); err != nil {
			t.Fatal(err)
		}
		expect("once given back", here, false)
		clock = clock.Add(barsEvery)
		expect("once given back elsewhere", there, false)
		if err := c.target.Check(); err != nil || c.target.String() != c.said || len(took) != 1 {
			t.Errorf("%s: Check = %v, want %s; told of %d bars, want 1", c.target, err, c.said, len(took))
		}
	}
	for _, bad := range []Target{{}, {Workspace: "a", Owner: "b"}, {Owner: "a", App: true}, {Workspace: "../a"}, {Owner: "a/b"}} {
		if err := bad.Check(); err == nil {
			t.Errorf("Check(%+v) = nil, want an error", bad)
		}
	}
}

func TestARevokedTokenIsKnownEverywhere(t *testing.T) {
	in, token := new(storetest.Memory), credential.NewToken("ghs_x", time.Now().Add(time.Hour))
	var here, there int
	one := &Bars{Store: in, Took: func(b store.Bars) { here += len(b.Tokens) }}
	other := &Bars{Store: in, Took: func(b store.Bars) { there += len(b.Tokens) }}
	if err := one.BarToken(t.Context(), token, store.Name{}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Barred(t.Context(), "sb-1"); err != nil || here != 1 || there != 1 {
		t.Errorf("told of %d and %d tokens, %v, want one each", here, there, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"BarToken": one.BarToken(gone, token, store.Name{}), "Bar": one.Bar(gone, "sb-1"), "Admit": one.Admit(gone, "sb-1"),
		"Bar of a bad id": one.Bar(t.Context(), "../x"), "Admit of a bad id": one.Admit(t.Context(), "../x"),
	} {
		if err == nil {
			t.Errorf("%s = nil, want an error: it is not in the store", name)
		}
	}
	if barred, err := one.Barred(t.Context(), "sb-1"); barred || err != nil {
		t.Errorf("Barred = %v, %v, want what the store has", barred, err)
	}
}

// read counts how often a store is listed.
type read struct {
	store.Store
	times int
}

func (r *read) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	r.times++
	return r.Store.List(ctx, below)
}

// Where there is no log yet, as after an upgrade, the list is what is looked at.
func TestWithoutALogTheListIsReadOnceASecond(t *testing.T) {
	in, clock := &read{Store: new(storetest.Memory)}, time.Now()
	b := &Bars{Store: in, Now: func() time.Time { return clock }}
	for range 100 { // ten seconds
		if _, err := b.Barred(t.Context(), "sb-1"); err != nil {
			t.Fatal(err)
		}
		clock = clock.Add(100 * time.Millisecond)
	}
	if in.times < 10 || in.times > 12 {
		t.Errorf("the list is read %d times in ten seconds, want about 11", in.times)
	}
}

// One bar more or less leaves the others as they are, before the store is read again.
func TestBarsDoNotReplaceEachOther(t *testing.T) {
	clock := time.Now()
	b := &Bars{Store: new(storetest.Memory), Now: func() time.Time { return clock }}
	expect := func(when string, want ...bool) {
		t.Helper()
		for i, ask := range [][2]string{{"sb-1", ""}, {"sb-2", "acme"}, {"sb-2", "octo"}} {
			if got, err := b.BarredFor(t.Context(), ask[0], ask[1]); err != nil || got != want[i] {
				t.Errorf("%s: BarredFor(%s, %s) = %v, %v, want %v", when, ask[0], ask[1], got, err, want[i])
			}
		}
	}
	expect("at first", false, false, false)
	token := credential.NewToken("ghs_x", clock.Add(time.Hour))
	for _, err := range []error{b.Bar(t.Context(), "sb-1"), b.Take(t.Context(), Target{Owner: "acme"}), b.BarToken(t.Context(), token, store.Name{}), b.Take(t.Context(), Target{App: true})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("with the App", true, true, true)
	if err := b.Lift(t.Context(), Target{App: true}); err != nil {
		t.Fatal(err)
	}
	expect("without the App", true, true, false)
	if all, err := b.All(t.Context()); err != nil || len(all.Tokens) != 1 || all.App {
		t.Errorf("All = %+v, %v, want the token's mark, and not the App", all, err)
	}
	if err := b.Lift(t.Context(), Target{Owner: "ACME"}); err != nil {
		t.Fatal(err)
	}
	expect("without the owner", true, false, false)
	if err := b.Admit(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	expect("without the workspace", false, false, false)
}
