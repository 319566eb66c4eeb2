package push

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/hooks/refs"
)

// manyOf returns a head of n commands, with names of about size bytes.
func manyOf(n, size int) string {
	lines := make([]string, n)
	for i := range lines {
		name := fmt.Sprintf("agent/sb-1/%d/", i)
		lines[i] = oidX + " " + oidY + " refs/heads/" + name + strings.Repeat("x", max(0, size-len(name))) + "y"
	}
	lines[0] += "\x00 report-status-v2 side-band-64k quiet object-format=sha1 agent=git/2.39.5"
	return pkts(lines...) + "0000"
}

// An ordinary push needs some dozen allocations, and one with many refs a few for each.
func TestAllocations(t *testing.T) {
	guard := refs.Guard{Policy: policyOf(t, entry("agent/sb-1/**"), entry("main")), Ancestry: FastForwards}
	for _, c := range []struct {
		commands int
		most     float64
	}{{1, 40}, {1000, 5 * 1000}} {
		head := manyOf(c.commands, 20)
		got := testing.AllocsPerRun(5, func() {
			if v := Decide(t.Context(), guard, read(t, head)); len(v.Head()) != len(head) {
				t.Errorf("Head has %d bytes, want the %d that were read", len(v.Head()), len(head))
			}
		})
		if got > c.most {
			t.Errorf("%d commands: %v allocations, want %v at most", c.commands, got, c.most)
		}
	}
}

func BenchmarkReadRequest(b *testing.B) {
	for _, n := range []int{1, 100, 2000} {
		head := manyOf(n, 20)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(head)))
			b.ReportAllocs()
			for b.Loop() {
				read(b, head)
			}
		})
	}
}

// BenchmarkDecide measures an ordinary push, the largest, the longest names, and the
// names that cost the most with a slow rule.
func BenchmarkDecide(b *testing.B) {
	ordinary := policyOf(b, entry("agent/sb-1/**"), entry("release/*"), entry("main"), entry("**/fix-*"), entry("refs/tags/v*"))
	for _, c := range []struct {
		name    string
		policy  *refs.Policy
		n, size int
	}{
		{"1", ordinary, 1, 20},
		{"2000", ordinary, 2000, 20},
		{"2000 long", ordinary, 2000, 240},
		{"100 long, odd rule", policyOf(b, entry("**x*x*/**x*y"), entry("**")), 100, 240},
	} {
		q := read(b, manyOf(c.n, c.size))
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !Decide(b.Context(), refs.Guard{Policy: c.policy, Ancestry: FastForwards}, q).Allowed() {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkAnswer(b *testing.B) {
	v := Refuse(policyOf(b, entry("agent/**")), read(b, manyOf(2000, 20)), "the pack is larger than 4 GiB")
	b.ReportAllocs()
	for b.Loop() {
		v.answer()
	}
}

func BenchmarkReport(b *testing.B) {
	q := read(b, manyOf(2000, 20))
	lines := []string{"unpack ok\n"}
	for _, c := range q.Commands {
		lines = append(lines, "ok "+c.Ref+"\n")
	}
	answer := []byte(banded(pkts(lines...)+"0000", 4000))
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReport(q)
		_, _ = r.Write(answer)
		if r.Outcomes()[1999].State != OK {
			b.Fatal("not read")
		}
	}
}
