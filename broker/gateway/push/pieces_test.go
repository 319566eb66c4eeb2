package push

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/hooks/refs"
)

// A composer makes pushes from pieces: most as clients send them, some as an attacker
// would.
type composer struct{ *rand.Rand }

// pick returns usual, and one time in twelve something odd.
func (c composer) pick(usual string, odd ...string) string {
	if c.IntN(12) > 0 {
		return usual
	}
	return odd[c.IntN(len(odd))]
}

func (c composer) of(all ...string) string { return all[c.IntN(len(all))] }

func (c composer) compose() string {
	var lines []string
	for c.IntN(4) == 0 {
		lines = append(lines, "shallow "+c.of(commitA, commitB)+c.pick("\n", "", "\n\n", " x", "\x00 atomic", "\x00"))
	}
	for i := range c.IntN(4) {
		line := c.pick("", " ", "\x00") + c.command()
		if i == 0 {
			line += c.pick("\x00", "", "\n\x00", "\x00\x00") + c.capabilities()
		} else {
			line += c.pick("", "\x00/agent", "\x00 atomic", "\x00 report-status", "\n", "\n\n", "\n"+c.command())
		}
		lines = append(lines, line+c.pick("", "\n", "\r"))
	}
	if len(lines) > 1 && c.IntN(12) == 0 {
		c.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	}
	text := pkts(lines...) + c.pick("0000", "0001", "0002", "0003", "0004", "")
	return text + c.of(emptyPack, emptyPack, emptyPack, "") + c.pick("", "0000", pkts(c.command())+"0000", "junk")
}

func (c composer) command() string {
	old := c.pick(c.of(commitA, commitA, zero), commitB, commitC, strings.ToUpper(commitA), zero+zero[:24], commitA[:39])
	now := c.pick(c.of(commitB, commitC, zero, commitB), commitA, oidX, strings.ToUpper(commitB), commitB+zero[:24])
	return old + c.pick(" ", "\t", "  ", "\x00") + now + c.pick(" ", "\t", "\n") + c.ref()
}

func (c composer) ref() string {
	ref := c.of("refs/heads/agent/x", "refs/heads/agent/x", "refs/heads/agent/new", "refs/heads/main", "refs/heads/new", "refs/tags/v1")
	return c.pick(ref, "refs/heads/agent/../main", "refs/heads/agent/x/y", "HEAD", "main", "refs/heads/Main", "refs/heads/agent", "refs/stash", "refs/pull/1/head") +
		c.pick("", " ", "\n", "\t", ".lock", "/", "\x00refs/heads/main", "\nrefs/heads/main", "\xff", "é", "$(id)", strings.Repeat("x", 1100))
}

func (c composer) capabilities() string {
	var text strings.Builder
	for _, name := range []string{"report-status", "report-status-v2", "side-band-64k", "quiet", "atomic", "object-format=sha1", "agent=x", "delete-refs", "ofs-delta"} {
		if c.IntN(2) == 0 {
			text.WriteString(c.pick(" ", "  ", "\t", "\n", "") + c.pick(name, name+"=1", name+" "+name, "push-options", "push-cert=x", "object-format=sha256", "session-id=x", "unknown", "re\x01port"))
		}
	}
	return text.String()
}

// TestRandomPushes checks that git's own server moves only what was read and allowed.
func TestRandomPushes(t *testing.T) {
	t.Parallel()
	s := newScratch(t)
	c := composer{rand.New(rand.NewPCG(13, 0))}
	sent := 0
	for range 400 {
		body := []byte(c.compose())
		checkReadings(t, body)
		if sent < 15 && checkMoves(t, s, body) {
			sent++
		}
	}
	if sent < 15 {
		t.Errorf("%d of 400 pushes were accepted, want 15 for the test to mean something", sent)
	}
}

// FuzzMovesOfPieces does the same with a fuzzer.
func FuzzMovesOfPieces(f *testing.F) {
	s := newScratch(f)
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		body := []byte(composer{rand.New(rand.NewPCG(seed, 1))}.compose())
		checkReadings(t, body)
		checkMoves(t, s, body)
	})
}

// FuzzReadingsOfPieces is fast, because it uses no git server.
func FuzzReadingsOfPieces(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		checkReadings(t, []byte(composer{rand.New(rand.NewPCG(seed, 2))}.compose()))
	})
}

// BenchmarkReadingsOfPieces does the same without the fuzzer's overhead: -benchtime
// 10000000x is ten million pushes.
func BenchmarkReadingsOfPieces(b *testing.B) {
	c, accepted := composer{rand.New(rand.NewPCG(rand.Uint64(), 3))}, 0
	for b.Loop() {
		body := []byte(c.compose())
		checkReadings(b, body)
		if q, err := ReadRequest(bytes.NewReader(body), Limits{}); err == nil && q.Objection == "" {
			accepted++
		}
	}
	b.ReportMetric(float64(accepted)/float64(b.N), "accepted/op")
}

// checkFence checks that a forwarded push moves only what the policy allows, by a very
// simple reading of the policy.
func checkFence(t *testing.T, q *Request, moved map[string]string) {
	t.Helper()
	guard := refs.Guard{Policy: policyOf(t, entry("agent/*", "create", "update", "delete")), Ancestry: FastForwards}
	v := Decide(context.Background(), guard, q)
	if !v.Allowed() {
		return
	}
	if !bytes.Equal(v.Head(), q.encode()) {
		t.Errorf("Head = %q, want what was decided on", v.Head())
	}
	for ref := range moved {
		if rest, ok := strings.CutPrefix(ref, "refs/heads/agent/"); !ok || strings.Contains(rest, "/") {
			t.Errorf("%s moved, which agent/* does not allow", ref)
		}
	}
}
