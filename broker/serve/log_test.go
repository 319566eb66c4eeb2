//go:build linux

package serve

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/gatepass/gatepass/broker/config"
)

// The broker's own log contains texts of callers, and people read it in terminals. slog
// does not escape DEL in text, nor text directions in JSON.
func TestTheLogIsHarmless(t *testing.T) {
	for _, form := range []string{"text", "json"} {
		var out bytes.Buffer
		var f config.File
		f.Log.Format = form
		newLog(&f, &out, new(slog.LevelVar)).Info("a\u202eb", slog.String("detail", "a\x7f"), slog.String("error", "\u2066\u200b\u009b31m"))
		if text := strings.TrimSuffix(out.String(), "\n"); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.Contains(text, `\u202e`) {
			t.Errorf("%s: the log has %q", form, text)
		}
	}
}
