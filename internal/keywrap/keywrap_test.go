package keywrap

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/gatepass/gatepass/test/testkey"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of RFC 5649, section 6.
func TestExamplesOfTheRFC(t *testing.T) {
	kek := unhex(t, "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
	for _, c := range []struct{ secret, wrapped string }{
		{"c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
		{"466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
	} {
		wrapped, err := wrapPadded(kek, unhex(t, c.secret))
		if got := hex.EncodeToString(wrapped); err != nil || got != c.wrapped {
			t.Errorf("wrapPadded(%s) = %s, %v, want %s", c.secret, got, err, c.wrapped)
		}
		secret, err := unwrapPadded(kek, wrapped)
		if got := hex.EncodeToString(secret); err != nil || got != c.secret {
			t.Errorf("unwrapPadded(%s) = %s, %v, want %s", c.wrapped, got, err, c.secret)
		}
	}
}

func TestWrap(t *testing.T) {
	key := testkey.RSA(2048, 0)
	for _, size := range []int{1, 7, 8, 9, 16, 1217, 2349} {
		secret := bytes.Repeat([]byte{0xab}, size)
		wrapped, err := Wrap(&key.PublicKey, secret)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Unwrap(key, wrapped); err != nil || !bytes.Equal(again, secret) {
			t.Errorf("Unwrap(Wrap(%d bytes)) = %d bytes, %v, want the same", size, len(again), err)
		}
		wrapped[len(wrapped)-1] ^= 1
		if _, err := Unwrap(key, wrapped); err == nil {
			t.Errorf("Unwrap of %d damaged bytes = nil, want an error", size)
		}
	}
	if _, err := Wrap(&key.PublicKey, nil); err == nil {
		t.Error("Wrap of nothing = nil, want an error")
	}
}

func FuzzUnwrapPadded(f *testing.F) {
	kek := make([]byte, aesSize)
	for _, size := range []int{1, 8, 20} {
		wrapped, err := wrapPadded(kek, make([]byte, size))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wrapped)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		secret, err := unwrapPadded(kek, wrapped)
		if err != nil {
			return
		}
		if again, err := wrapPadded(kek, secret); err != nil || !bytes.Equal(again, wrapped) {
			t.Errorf("wrapPadded(unwrapPadded(%x)) = %x, %v, want the same", wrapped, again, err)
		}
	})
}
