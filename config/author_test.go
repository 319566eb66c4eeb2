package config

import (
	"strings"
	"testing"
)

func TestParseAuthor(t *testing.T) {
	w, err := Parse([]byte("author: 'acme-bot[bot] <1234+acme-bot[bot]@users.noreply.github.com>'\n"))
	if want := (Author{"acme-bot[bot]", "1234+acme-bot[bot]@users.noreply.github.com"}); err != nil || w.Author != want {
		t.Errorf("Parse = %+v, %v, want %+v", w, err, want)
	}
	for _, text := range []string{
		"", "Bot", "bot@example.com", "<bot@example.com>", " <bot@example.com>", "Bot <>", "Bot <bot>", "Bot <bot@>", "Bot <@example.com>",
		"Bot <a b@example.com>", "Bot <bot@example.com> x", "Bot <bot@example.com", "Bo<t <bot@example.com>", "Bot\nX <bot@example.com>", "Bot  <bot@example.com>",
		"Bot <bot@example.com\x1b>", strings.Repeat("b", 512) + " <bot@example.com>",
	} {
		if name, email, err := ParseAuthor(text); err == nil || !strings.Contains(err.Error(), "want NAME <EMAIL>") {
			t.Errorf("ParseAuthor(%q) = %q, %q, %v, want an error", text, name, email, err)
		}
	}
	for _, text := range []string{"author:\n", "author: [a]\n", "author: 1\n"} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "author is NAME <EMAIL>") {
			t.Errorf("Parse(%q) = %v, want an error", text, err)
		}
	}
}
