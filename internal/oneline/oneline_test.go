package oneline

import (
	"errors"
	"io/fs"
	"os/exec"
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
		{"a reason hides the error below", &Error{What: "a", Why: "b", Err: fs.ErrNotExist}, "a: b"},
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
