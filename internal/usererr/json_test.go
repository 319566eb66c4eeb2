package usererr

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// JSON is shown on terminals: encoding/json leaves DEL, the controls of C1 and the
// characters that turn text around as they are.
func TestJSONHidesNothing(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		"{\n\t\"a\": \"Grüße 東京\"}\n": "{\n\t\"a\": \"Grüße 東京\"}\n",
		"\"\u202e\"":                  `"\u202e"`,
		"\"\u2066a\u2069\"":           `"\u2066a\u2069"`,
		"\"\u200b\u2028\"":            `"\u200b\u2028"`,
		"\"\x7f\u009b31m\"":           `"\u007f\u009b31m"`,
		"\"\U000e0041\"":              `"\udb40\udc41"`,
		"\"\xff\"":                    `"\ufffd"`,
		`"\u001b\n"`:                  `"\u001b\n"`,
	} {
		if got := string(JSON([]byte(in))); got != want {
			t.Errorf("JSON(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestJSONWriterSaysHowMuchItTook(t *testing.T) {
	var out bytes.Buffer
	if n, err := JSONWriter(&out).Write([]byte("\"\u202e\"")); n != 5 || err != nil || out.String() != `"\u202e"` {
		t.Errorf("Write = %d, %v, and wrote %s", n, err, out.String())
	}
}

// A log in text is lines; slog leaves a DEL in them as it is.
func TestTextWriterKeepsLines(t *testing.T) {
	var out bytes.Buffer
	if n, err := TextWriter(&out).Write([]byte("a\x7f\nb\u202e\n")); n != 8 || err != nil || out.String() != "a\\x7f\nb\\u202e\n" {
		t.Errorf("Write = %d, %v, and wrote %q", n, err, out.String())
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[31m", "\u202e\u2066\u200b\x7f\u0085", "\U000e0041", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			t.Fatal(err)
		}
		got := JSON(text)
		if !utf8.Valid(got) || strings.ContainsFunc(string(got), func(r rune) bool { return !printable(r) }) {
			t.Errorf("JSON(%s) = %q, which is not printable", text, got)
		}
		var before, after map[string]string
		if err := json.Unmarshal(text, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &after); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("JSON(%s) = %s, which has another value: %v", text, got, err)
		}
	})
}
