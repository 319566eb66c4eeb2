package store

import (
	"testing"
	"time"
)

// The names of tokens say when they expire, never earlier than the token does. Those that
// brokers of the version before made are read, and say nothing.
func TestNamesSayWhenTokensExpire(t *testing.T) {
	id, ends := [8]byte{0xab, 1}, time.Unix(1_800_000_000, 1)
	dated, err := Vended("sb-1", id, ends)
	if err != nil {
		t.Fatal(err)
	}
	old, err := ParseName("sandbox/sb-1/vended/ab01000000000000")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name Name
		text string
		says bool
		id   string
	}{
		{dated, "sandbox/sb-1/vended/ab01000000000000-1800000001", true, "ab01000000000000"},
		{old, "sandbox/sb-1/vended/ab01000000000000", false, "ab01000000000000"},
		{BlockedToken(id, ends), "broker/barred/tokens/ab01000000000000-1800000001", true, ""},
		{BlockedToken(id, time.Time{}), "broker/barred/tokens/ab01000000000000", false, ""},
		{Name{"sandbox/sb-1/vended/ab01-x"}, "sandbox/sb-1/vended/ab01-x", false, "ab01"},
		{Name{"sandbox/a-1800000001/workspace"}, "sandbox/a-1800000001/workspace", false, ""},
	} {
		got, ok := c.name.Ends()
		if c.name.String() != c.text || ok != c.says || ok && !got.Equal(time.Unix(1_800_000_001, 0)) || c.name.TokenID() != c.id {
			t.Errorf("%s ends %v, %v and has the ID %q, want %s, %v and %q", c.name, got, ok, c.name.TokenID(), c.text, c.says, c.id)
		}
	}
	if without, err := Vended("sb-1", id, time.Time{}); err != nil || without != old {
		t.Errorf("Vended without an end = %s, %v, want %s", without, err, old)
	}
	b := NewBlocks()
	b.Add(BlockedToken(id, ends))
	b.Add(BlockedToken([8]byte{2}, time.Time{}))
	if !b.Tokens["ab01000000000000"] || !b.Tokens["0200000000000000"] || len(b.Tokens) != 2 {
		t.Errorf("blocks have the tokens %v, want both by their IDs", b.Tokens)
	}
}
