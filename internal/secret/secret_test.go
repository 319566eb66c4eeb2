package secret

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const text = "tok-1234"

// key is a type that carries a secret.
type key struct{ Text }

func TestSecretsDoNotPrint(t *testing.T) {
	k := key{New(text)}
	type hidden struct{ k key }
	type shown struct{ K key }
	var printed bytes.Buffer
	for _, v := range []any{k, &k, k.Text, hidden{k}, &hidden{k}, shown{k}, []key{k}, map[string]key{"k": k}, fmt.Errorf("with %v", k)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "%p", "%10.3s"} {
			fmt.Fprintf(&printed, verb+" ", v)
		}
		slog.New(slog.NewTextHandler(&printed, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("x", "v", v)
		if err := json.NewEncoder(&printed).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	out := printed.String()
	if strings.Contains(out, text) || strings.Contains(strings.ToLower(out), hex.EncodeToString([]byte(text))) {
		t.Errorf("a secret is in %s", out)
	}
	if !strings.Contains(out, mark) {
		t.Errorf("no mark stands in %s", out)
	}
}

func TestReveal(t *testing.T) {
	if got := New(text).Reveal(); got != text {
		t.Errorf("Reveal = %q, want %q", got, text)
	}
	if got := (Text{}).Reveal(); got != "" {
		t.Errorf("Reveal of the zero Text = %q, want nothing", got)
	}
}
