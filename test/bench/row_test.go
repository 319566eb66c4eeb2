package main

import (
	"strings"
	"testing"
)

func TestVerdicts(t *testing.T) {
	ms := figure{Value: 11, Median: 12, Unit: unitMS}
	peer := figure{Value: 10, Unit: unitMS}
	for _, c := range []struct {
		name string
		row  row
		want string
	}{
		{"a ratio at its limit", row{Ours: ms}.beside("p", peer).judged(ratioAtMost(1.1)), kept},
		{"a ratio over it", row{Ours: ms}.beside("p", peer).judged(ratioAtMost(1.05)), missed},
		{"as many as the peer", row{Ours: peer}.beside("p", peer).judged(fewerThanPeer()), missed},
		{"fewer than the peer", row{Ours: peer}.beside("p", ms).judged(fewerThanPeer()), kept},
		{"a value at a limit that is allowed", row{Ours: ms}.judged(atMost(11)), kept},
		{"a value at a limit that is not", row{Ours: ms}.judged(under(11)), missed},
		{"none where none is allowed", row{Ours: figure{Unit: unitRequests}}.judged(atMost(0)), kept},
		{"one where none is allowed", row{Ours: figure{Value: 1, Unit: unitRequests}}.judged(atMost(0)), missed},
		{"no target", row{Ours: ms}.beside("p", peer), ""},
	} {
		if c.row.Verdict != c.want {
			t.Errorf("%s: verdict = %q, want %q", c.name, c.row.Verdict, c.want)
		}
	}
}

func TestBetterKeepsRunsTogether(t *testing.T) {
	at := func(value float64, note string) []row {
		return []row{
			row{Promise: "a", Ours: figure{Value: value, Unit: unitMS}, Note: note}.judged(under(10)),
			{Promise: "  to read a by", Note: note},
		}
	}
	for _, c := range []struct {
		name       string
		old, again []row
		want       string
	}{
		{"the first measurement", nil, at(12, "first"), "first"},
		{"a better one", at(12, "old"), at(8, "new"), "new"},
		{"a worse one", at(8, "old"), at(12, "new"), "old"},
	} {
		got := better(c.old, c.again)
		if got[0].Note != c.want || got[1].Note != c.want {
			t.Errorf("%s: better = %q, %q, want both %q", c.name, got[0].Note, got[1].Note, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	got := tableOf([]row{
		row{Promise: "get", Ours: figure{Value: 1.1, Median: 1.4, Unit: unitMS}, Note: "a note"}.beside("peer", figure{Value: 1, Median: 1.2, Unit: unitMS}).judged(ratioAtMost(1.1)),
		row{Promise: "source calls", Ours: count(1, unitCalls)}.judged(atMost(1)),
		row{Promise: "size", Ours: megabytes(3_500_000)}.judged(atMost(3)),
	})
	want := []string{
		"PROMISE       GATEPASS        PEER                  RATIO  TARGET",
		"get           1.10 ms (1.40)  peer  1.00 ms (1.20)  1.10   ≤ 1.1 ×   ok",
		"    a note",
		"source calls  1 call                                       ≤ 1 call  ok",
		"size          3.50 MB                                      ≤ 3 MB    MISSED",
	}
	for i, line := range strings.Split(got, "\n")[:len(want)] {
		if line != want[i] {
			t.Errorf("line %d = %q, want %q", i+1, line, want[i])
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		ok   bool
	}{
		{"", true},
		{"-quick -json -only get,remote", true},
		{"-only nothing", false},
		{"-rounds 0", false},
		{"get", false},
		{"-unknown", false},
	} {
		if _, err := parse(strings.Fields(c.args)); (err == nil) != c.ok {
			t.Errorf("parse(%q) = %v, want ok %v", c.args, err, c.ok)
		}
	}
}
