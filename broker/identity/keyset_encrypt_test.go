package identity

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/storetest"
)

func TestEncryptedTextsAreReadByReplicasOnly(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	one, two := &Keyset{Store: m, Now: c.now}, &Keyset{Store: m, Now: c.now}
	const payload = "https://storage.example/object?X-Amz-Signature=5ec3e7"
	text, err := one.Encrypt(t.Context(), "lfs", []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := one.Encrypt(t.Context(), "lfs", []byte(payload))
	if text == again || strings.Contains(text, "Amz") {
		t.Errorf("Encrypt = %q and %q, want two texts that show nothing", text, again)
	}
	if got, err := two.Decrypt(t.Context(), "lfs", text); err != nil || string(got) != payload {
		t.Errorf("Decrypt by another replica = %q, %v, want the payload", got, err)
	}
	sealed := seal(t, one, payload)
	body, of, _ := cutLast(text)
	stranger := &Keyset{Store: &storetest.Memory{}, Now: c.now}
	if _, err := stranger.Encrypt(t.Context(), "lfs", nil); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		by            *Keyset
		purpose, text string
	}{
		"another purpose":     {two, "session", text},
		"a signed text":       {two, "session", sealed},
		"another day":         {two, "lfs", body + ".1"},
		"a day written twice": {two, "lfs", body + ".0" + of},
		"a changed byte":      {two, "lfs", flipped(text)},
		"half of it":          {two, "lfs", text[:10] + "." + of},
		"nothing":             {two, "lfs", ""},
		"another broker":      {stranger, "lfs", text},
		"the zero Keyset":     {&Keyset{Now: func() time.Time { return time.Unix(0, 0) }}, "lfs", text},
	} {
		if got, err := test.by.Decrypt(t.Context(), test.purpose, test.text); !errors.Is(err, ErrForged) {
			t.Errorf("%s: Decrypt = %q, %v, want ErrForged", name, got, err)
		}
	}
	c.move(48 * time.Hour)
	if got, err := two.Decrypt(t.Context(), "lfs", text); !errors.Is(err, ErrForged) {
		t.Errorf("Decrypt after two days = %q, %v, want ErrForged", got, err)
	}
}

func flipped(text string) string {
	other := byte('A')
	if text[5] == other {
		other = 'B'
	}
	return text[:5] + string(other) + text[6:]
}

// A store that cannot be read is no forgery: the caller may try again.
func TestDecryptTellsAnOutageFromAForgery(t *testing.T) {
	c, m := noon(), &storetest.Memory{}
	text, err := (&Keyset{Store: m, Now: c.now}).Encrypt(t.Context(), "lfs", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := new(Keyset).Encrypt(t.Context(), "lfs", nil); err == nil {
		t.Error("the zero Keyset encrypts, want an error")
	}
	without := &Keyset{Now: c.now}
	if got, err := without.Decrypt(t.Context(), "lfs", text); err == nil || errors.Is(err, ErrForged) {
		t.Errorf("Decrypt without a store = %q, %v, want another error than ErrForged", got, err)
	}
}
