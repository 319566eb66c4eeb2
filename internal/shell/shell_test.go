package shell_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/internal/shell"
)

func FuzzFirstWord(f *testing.F) {
	for _, s := range []string{"/usr/bin/x", "/a b/c", "/it's", "/''", "/\\", "/$(x)`y`\"z", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, quoted := range []string{shell.Quote(s), shell.QuoteIfNeeded(s)} {
			if word, rest, err := shell.FirstWord(quoted + " get"); err != nil || word != s || rest != "get" {
				t.Errorf("FirstWord(%s get) = %q, %q, %v, want %q and get", quoted, word, rest, err, s)
			}
		}
		_, _, _ = shell.FirstWord(s)
	})
}

func TestFirstWordRefuses(t *testing.T) {
	for _, command := range []string{"'unfinished", "$HOME/x", "a;b", "a\"b", "a\tb", "\\"} {
		if word, _, err := shell.FirstWord(command); err == nil {
			t.Errorf("FirstWord(%s) = %q, want an error", command, word)
		}
	}
}

// sh reads what this package writes.
func TestQuotesBySh(t *testing.T) {
	for _, s := range []string{"/bin/x", "a b", "it's", "a$b`c`\"d\"\\e/x", "a;b&c|d<e>f(g)*?[h]~#!", "ü", "a\nb", ""} {
		out, err := exec.Command("/bin/sh", "-c", "printf %s "+shell.Quote(s)+" "+shell.QuoteIfNeeded(s)).Output()
		if want := strings.Repeat(s, 2); err != nil || string(out) != want {
			t.Errorf("sh reads %q as %q, %v, want %q", shell.Quote(s), out, err, want)
		}
	}
}
