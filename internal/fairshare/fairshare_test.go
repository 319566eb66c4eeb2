package fairshare

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// A step is a guest that arrives: "a1" is guest 1 of address a.
type step struct {
	name string
	size int64
	out  []string // who has to leave
	ok   bool
}

func TestWhoMakesWay(t *testing.T) {
	for _, c := range []struct {
		name    string
		isBrief bool
		steps   []step
	}{
		{"the oldest of who has the most", false, []step{
			{"a1", 1, nil, true},
			{"b1", 1, nil, true},
			{"b2", 1, nil, true},
			{"b3", 1, nil, true},
			{"c1", 1, []string{"b1"}, true},
			{"d1", 1, []string{"b2"}, true},
		}},
		{"no eviction for one more of the same", false, []step{
			{"a1", 1, nil, true}, {"a2", 1, nil, true}, {"a3", 1, nil, true}, {"a4", 1, nil, true}, {"a5", 1, nil, false},
		}},
		{"no eviction if all have the same", false, []step{
			{"a1", 1, nil, true}, {"b1", 1, nil, true}, {"c1", 1, nil, true}, {"d1", 1, nil, true}, {"e1", 1, nil, false},
		}},
		{"the oldest of the same, if no entry stays long", true, []step{
			{"a1", 1, nil, true}, {"a2", 1, nil, true}, {"a3", 1, nil, true}, {"a4", 1, nil, true}, {"a5", 1, []string{"a1"}, true},
		}},
		{"the oldest of all, if no entry stays long", true, []step{
			{"a1", 1, nil, true}, {"b1", 1, nil, true}, {"c1", 1, nil, true}, {"d1", 1, nil, true}, {"e1", 1, []string{"a1"}, true},
		}},
		{"as many as are needed", false, []step{
			{"a1", 1, nil, true}, {"a2", 1, nil, true}, {"a3", 2, nil, true}, {"b1", 2, []string{"a1", "a2"}, true},
		}},
		{"those with more, however few", true, []step{
			{"a1", 3, nil, true}, {"b1", 1, nil, true}, {"b2", 1, []string{"a1"}, true},
		}},
		{"no eviction for an entry larger than the room", true, []step{
			{"a1", 5, nil, false}, {"a2", 4, nil, true},
		}},
	} {
		r := &Pool{Size: 4, EvictOldest: c.isBrief}
		var out []string
		for _, s := range c.steps {
			out = nil
			_, ok := r.Acquire(s.name[:1], s.size, func() { out = append(out, s.name) })
			if ok != s.ok || !slices.Equal(out, s.out) {
				t.Errorf("%s: when %s comes, %q go and it is in: %v, want %q and %v", c.name, s.name, out, ok, s.out, s.ok)
			}
		}
	}
}

// What was given back is not lost too, and what was lost is not given back.
func TestLeaving(t *testing.T) {
	r := &Pool{Size: 2, EvictOldest: true}
	cuts := map[string]int{}
	enter := func(name string) func() {
		leave, ok := r.Acquire(name, 1, func() { cuts[name]++ })
		if !ok {
			t.Fatalf("%s is not let in", name)
		}
		return leave
	}
	first, second := enter("a"), enter("b")
	second()
	second()
	enter("c")
	enter("d") // for a
	first()
	enter("e") // for c
	if cuts["a"] != 1 || cuts["b"] != 0 || cuts["c"] != 1 || len(cuts) != 2 {
		t.Errorf("made way: %v, want a and c", cuts)
	}
	if r.used != 2 || len(r.of) != 2 || r.shares.Len() != 2 {
		t.Errorf("%d is used by %v, want 2 by two", r.used, r.of)
	}
}

// However many come at once, the room never exceeds its size.
func TestManyAtOnce(t *testing.T) {
	r := &Pool{Size: 8, EvictOldest: true}
	var inside atomic.Int64
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for range 200 {
				out := sync.OnceFunc(func() { inside.Add(-1) })
				inside.Add(1)
				leave, _ := r.Acquire(fmt.Sprint(i%5), 1, out)
				if n := inside.Load(); n > 8+16 { // and those that are about to enter
					t.Errorf("%d are in a room of 8", n)
				}
				leave()
				out()
			}
		})
	}
	wait.Wait()
	if r.used != 0 || len(r.of) != 0 || r.shares.Len() != 0 {
		t.Errorf("%d is used by %v when all have left", r.used, r.of)
	}
}

func TestAddress(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3:4:5:6]:7": "2001:db8:1:2::/64", "[fe80::1%eth0]:7": "fe80::/64", "": "socket", "@": "socket",
	} {
		if got := Address(from); got != want {
			t.Errorf("Address(%q) = %q, want %q", from, got, want)
		}
	}
}
