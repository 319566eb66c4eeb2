package store

import (
	"strings"
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

// The names of shared tokens say of which account and repository they are and when they
// end, so that neither revoking nor tidying reads an entry of others.
func TestNamesOfSharedTokens(t *testing.T) {
	ends := time.Unix(1_800_000_000, 0)
	n, err := Shared("Acme", ".github", [16]byte{0xab}, ends)
	if err != nil || !strings.HasPrefix(n.String(), "broker/shared/acme/") || !strings.HasSuffix(n.String(), "ab000000000000000000000000000000-1800000000") {
		t.Fatalf("Shared = %s, %v, want it in acme's folder with its end", n, err)
	}
	if again, err := ParseName(n.String()); err != nil || again != n {
		t.Errorf("ParseName = %s, %v, want %s", again, err, n)
	}
	if at, ok := n.Ends(); !ok || !at.Equal(ends) {
		t.Errorf("Ends = %v, %v, want %v", at, ok, ends)
	}
	acme, err := SharedOf("ACME")
	if err != nil || !acme.Has(n) || !AllShared().Has(n) || !n.IsShared() {
		t.Errorf("it is neither of %s nor of all, %v", acme, err)
	}
	if other, err := SharedOf("acme-2"); err != nil || other.Has(n) {
		t.Errorf("%s has %s, %v, want it not to", other, n, err)
	}
	for repository, want := range map[string]bool{".github": true, ".GitHub": true, "github": false, "": false} {
		if got := n.SharedKey() == RepositoryKey(repository); got != want {
			t.Errorf("it is for %q: %v, want %v", repository, got, want)
		}
	}
	vended, err := Vended("sb-1", [8]byte{1}, ends)
	if err != nil || vended.IsShared() || vended.SharedKey() != "" || n.IsVended() || n.IsBlockedToken() {
		t.Errorf("%s and %s are taken for each other, %v", vended, n, err)
	}
	apart, err := Unshared("ACME", ends)
	if at, ok := apart.Ends(); err != nil || !acme.Has(apart) || !apart.IsUnshared() || n.IsUnshared() || apart.SharedKey() == RepositoryKey("") || !ok || !at.Equal(ends) {
		t.Errorf("Unshared = %s, %v, ending %v, want it beside the tokens of acme", apart, err, at)
	}
	if n, err := Shared("../x", "widgets", [16]byte{}, ends); err == nil {
		t.Errorf("Shared = %s, want an error for what is no account", n)
	}
}
