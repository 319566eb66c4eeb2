package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"unicode"
)

// The log contains text from GitHub and workspaces, and people read it on terminals.
// slog leaves DEL in text, and direction-changing characters in JSON.
func TestTheLogIsHarmless(t *testing.T) {
	for _, form := range []string{"text", "json"} {
		var out bytes.Buffer
		newLogger(&out, form).Info("a\u202eb", slog.String("error", "a\x7f"), slog.String("workspace", "\u2066\u200b\u009b31m"))
		if text := strings.TrimSuffix(out.String(), "\n"); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.Contains(text, `\u202e`) {
			t.Errorf("%s: the log has %q", form, text)
		}
	}
}
