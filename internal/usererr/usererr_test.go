package usererr

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestErrorSaysWhatWhyAndWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name string
		err  *Error
		want string
	}{
		{"all three", New("read token", "access denied", "ask for ssm:GetParameter"), "read token: access denied; ask for ssm:GetParameter"},
		{"nothing to do", New("read token", "access denied", ""), "read token: access denied"},
		{"the reason is an error", Wrap("open", fs.ErrNotExist, "create it"), "open: file does not exist; create it"},
		{"a reason hides the error below", &Error{Op: "a", Reason: "b", Err: fs.ErrNotExist}, "a: b"},
		{"no reason at all", New("no workspace file", "", "write one"), "no workspace file; write one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.err.Error(); got != c.want {
				t.Errorf("Error() = %q, want %q", got, c.want)
			}
		})
	}
	if err := Wrap("open", fs.ErrNotExist, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("errors.Is(%v, fs.ErrNotExist) = false, want true", err)
	}
}

func TestLineIsOneLine(t *testing.T) {
	got := Line(errors.New("a\nfatal: fake\x1b[31m\u202e\xff"))
	want := `gatepass: a\nfatal: fake\x1b[31m\u202e\xff` + "\n"
	if got != want {
		t.Errorf("Line = %q, want %q", got, want)
	}
}

func TestEscapeLeavesWhatCanBeRead(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"a plain line":       "a plain line",
		"Grüße an 東京":        "Grüße an 東京",
		"Grüße\nan 東京":       `Grüße\nan 東京`,
		"ma\u202ein":         `ma\u202ein`,
		"half \xe6 a rune":   `half \xe6 a rune`,
		"\ufffd, as sent":    "\ufffd, as sent",
		"\ufffd and\x00more": "\ufffd and\\x00more",
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestJoinKeepsEveryError(t *testing.T) {
	if err := Join(nil, nil); err != nil {
		t.Errorf("Join(nil, nil) = %v, want nil", err)
	}
	err := Join(fs.ErrNotExist, nil, New("read", "denied", "ask"))
	if want := "file does not exist / read: denied; ask"; err.Error() != want {
		t.Errorf("Join = %q, want %q", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("errors.Is(%v, fs.ErrNotExist) = false, want true", err)
	}
	if said, ok := errors.AsType[*Error](err); !ok || said.Hint != "ask" {
		t.Errorf("errors.AsType(%v) = %v, %v; want what says ask", err, said, ok)
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "plain", "ünï", "a\nb", "\x1b]0;x\a", "\xff\xfe", "\u200b", "�"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		if strings.ContainsFunc(got, func(r rune) bool { return !printable(r) }) || !utf8.ValidString(got) {
			t.Errorf("Escape(%q) = %q, which is not printable", s, got)
		}
		if again := Escape(got); again != got {
			t.Errorf("Escape(Escape(%q)) = %q, want %q", s, again, got)
		}
	})
}

func FuzzQuote(f *testing.F) {
	f.Add("it's")
	f.Add("a b$(x)")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			return
		}
		out, err := exec.Command("/bin/sh", "-c", "printf %s "+Quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("sh reads Quote(%q) as %q, %v", s, out, err)
		}
	})
}

func TestCut(t *testing.T) {
	for in, want := range map[string]string{"": "", "short": "short", "12345678": "12345678", "123456789": "12345678", "1234567ü": "1234567"} {
		if got := Cut(in, 8); got != want {
			t.Errorf("Cut(%q) = %q, want %q", in, got, want)
		}
	}
}

// JSON is shown on terminals: encoding/json does not escape DEL, the C1 controls and
// the characters that change the direction of text.
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

// A text log consists of lines; slog does not escape a DEL in them.
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
