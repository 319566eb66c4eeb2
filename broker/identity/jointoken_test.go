package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

func TestTypos(t *testing.T) {
	text := NewJoinToken().Reveal()
	if got, err := ParseJoinToken(text); err != nil || got.Reveal() != text || len(text) != 62 {
		t.Fatalf("ParseToken(%d bytes) = %v, want the token", len(text), err)
	}
	for i := range text {
		for _, c := range []byte("ab27_ ") {
			if mistyped := text[:i] + string(c) + text[i+1:]; mistyped != text {
				checkTypo(t, mistyped)
			}
		}
		checkTypo(t, text[:i])
		checkTypo(t, text[:i]+text[i+1:])
		checkTypo(t, text[:i]+"a"+text[i:])
	}
	for _, bad := range []string{strings.ToUpper(text), text + "\n", " " + text, text + "=", "gpj_", "gps_" + text[4:]} {
		checkTypo(t, bad)
	}
}

func checkTypo(t *testing.T, text string) {
	t.Helper()
	if _, err := ParseJoinToken(text); !errors.Is(err, ErrTypo) {
		t.Errorf("ParseToken(%q) = %v, want ErrTypo", text, err)
	}
}

func TestTokensDoNotPrint(t *testing.T) {
	token := NewJoinToken()
	asJSON, err := json.Marshal(map[string]any{"t": token})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(token, struct{ t JoinToken }{token}), fmt.Sprintf("%v %+v %#v %s %q", token, token, token, token, token), string(asJSON)} {
		if strings.Contains(text, token.Reveal()[:12]) {
			t.Errorf("the token is in %q", text)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	for _, c := range []struct {
		name, workspace, rule string
		ttl                   time.Duration
	}{
		{"no life", "sb-1", "agents", 0},
		{"a long life", "sb-1", "agents", MaxJoinTTL + 1},
		{"no rule", "sb-1", "", time.Minute},
		{"a long rule", "sb-1", strings.Repeat("a", maxRule+1), time.Minute},
		{"a rule of two lines", "sb-1", "a\nb", time.Minute},
		{"an id that climbs", "../sb-1", "agents", time.Minute},
	} {
		m := &storetest.Memory{}
		if _, err := IssueJoinToken(t.Context(), m, time.Now(), c.workspace, c.rule, c.ttl); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: IssueJoinToken = %v, want an error of one line", c.name, err)
		}
		if n := count(t, m, store.Everything()); n != 0 {
			t.Errorf("%s: the store has %d entries, want none", c.name, n)
		}
	}
}

func count(t *testing.T, s store.Store, below store.Prefix) (n int) {
	t.Helper()
	for _, err := range s.List(t.Context(), below) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// The store never has the token itself, and expired entries are deleted.
func TestWhatTheStoreHas(t *testing.T) {
	m, now := &storetest.Memory{}, time.Now()
	token, err := IssueJoinToken(t.Context(), m, now, "sb-1", "agents", MaxJoinTTL)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range m.List(t.Context(), store.Everything()) {
		entry, getErr := m.Get(t.Context(), name)
		if text := name.String() + entry.Value.Reveal(); err != nil || getErr != nil || strings.Contains(text, token.Reveal()[4:]) {
			t.Errorf("the store has %q", text)
		}
	}
	if err := m.Put(t.Context(), store.Redeemed(token.Hash()), store.NewSecret("x"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	if _, err := IssueJoinToken(t.Context(), m, now.Add(MaxJoinTTL+keptFor), "sb-1", "agents", MaxJoinTTL); err != nil {
		t.Fatal(err)
	}
	if n := count(t, m, store.Everything()); n != 1 {
		t.Errorf("the store has %d entries, want the new token alone", n)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(NewJoinToken().Reveal())
	f.Add("gpj_")
	f.Fuzz(func(t *testing.T, text string) {
		if token, err := ParseJoinToken(text); err == nil && token.Reveal() != text {
			t.Errorf("ParseToken(%q) = %q, want one spelling for one token", text, token.Reveal())
		}
	})
}
