package envelope

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

// local wraps with a data key in memory.
type local struct{ DataKey }

func (l local) Wrap(_ context.Context, key []byte) ([]byte, error) { return l.Seal("key", key) }

func (l local) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	return l.Open("key", wrapped)
}

func newLocal(t *testing.T) local {
	t.Helper()
	key, err := dataKey(bytes.Repeat([]byte{7}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	return local{key}
}

// roundTrip holds a wrapper against what Wrapper says.
func roundTrip(t *testing.T, w, again Wrapper) {
	t.Helper()
	key, wrapped, err := NewDataKey(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	value := []byte("ghs_x")
	sealed, err := key.Seal("a", value)
	if err != nil {
		t.Fatal(err)
	}
	unwrapped, err := UnwrapDataKey(t.Context(), again, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unwrapped.Open("a", sealed); err != nil || string(got) != "ghs_x" {
		t.Errorf("Open = %q, %v, want the value", got, err)
	}
	other, _, err := NewDataKey(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open("a", sealed); !errors.Is(err, ErrNotSealed) {
		t.Errorf("Open by another data key = %v, want ErrNotSealed", err)
	}
	wrapped[len(wrapped)-1] ^= 1
	if _, err := UnwrapDataKey(t.Context(), again, wrapped); err == nil || strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("UnwrapDataKey of what was changed = %v, want an error in one line", err)
	}
}

func TestDataKey(t *testing.T) {
	w := newLocal(t)
	roundTrip(t, w, w)
	key, _, err := NewDataKey(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := key.Seal("a", []byte("the same"))
	second, _ := key.Seal("a", []byte("the same"))
	if bytes.Equal(first, second) || bytes.Contains(first, []byte("same")) {
		t.Errorf("Seal = %x and %x, want two that hide the value", first, second)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another place": func() ([]byte, error) { return key.Open("b", first) },
		"a part":        func() ([]byte, error) { return key.Open("a", first[:len(first)-1]) },
		"nothing":       func() ([]byte, error) { return key.Open("a", nil) },
	} {
		if got, err := open(); !errors.Is(err, ErrNotSealed) {
			t.Errorf("%s: Open = %q, %v, want ErrNotSealed", name, got, err)
		}
	}
}

func TestTheZeroDataKeyRefuses(t *testing.T) {
	var none DataKey
	if sealed, err := none.Seal("a", []byte("x")); err == nil {
		t.Errorf("Seal = %x, want an error", sealed)
	}
	if value, err := none.Open("a", []byte("x")); err == nil {
		t.Errorf("Open = %q, want an error", value)
	}
	if _, err := dataKey(make([]byte, 16)); err == nil {
		t.Error("a key of 16 bytes is taken, want 32 only")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, bad := range []string{
		"", "file:///key", "awskms:///", "awskms://host/alias/x", "awskms:///alias/x?color=red", "awskms:///alias/{workspace}",
		"vault+transit://transit", "vault+transit://transit/", "vault+transit://transit:8200/x", "vault+transit://transit/{workspace}", "vault+transit://u:p@transit/x", "://",
	} {
		if w, err := Open(bad); err == nil || strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("Open(%q) = %v, %v, want an error in one line", bad, w, err)
		}
	}
	for _, good := range []string{"awskms:///alias/store?region=eu-central-1", "awskms:///1234abcd-12ab-34cd-56ef-1234567890ab", "vault+transit://transit/store?addr=https://vault.example:8200"} {
		if _, err := Open(good); err != nil {
			t.Errorf("Open(%q) = %v", good, err)
		}
	}
}
