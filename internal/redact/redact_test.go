package redact

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const token = "ghs_0123456789abcdefghijABCDEFGHIJ012345"

func TestText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain text stays", "repository acme/widgets is not allowed", "repository acme/widgets is not allowed"},
		{"a token goes", "got " + token + " twice", "got [redacted] twice"},
		{"so does a stateless one", "ghs_12345_eyJhbGciOi.eyJpc3Mi.c2ln;", "[redacted];"},
		{"so does a JWT", "Bearer eyJhbGciOi.eyJpc3Mi.c2ln", "Bearer [redacted]"},
		{"the shortest of them", "ghs_01azAZ9_.", "[redacted]"},
		{"a token ends where its letters do", "ghs_01azAZ89{ghs_01azAZ89[ghs_01azAZ89:x", "[redacted]{[redacted][[redacted]:x"},
		{"eight letters are enough", "ghp_01234567,", "[redacted],"},
		{"seven are a word", "ghp_0123456,", "ghp_0123456,"},
		{"blanks around go", " a b\r\n", "a b"},
		{"an empty user in a URL", "https://@host/x", "https://[redacted]@host/x"},
		{"a password without a host", "https://me:secret@", "https://[redacted]@"},
		{"no host at all", "https:///a@b", "https:///a@b"},
		{"the bare prefix is a word", "tokens begin with ghs_", "tokens begin with ghs_"},
		{"a password in a URL goes", "proxy http://me:secret@proxy:3128/x refused", "proxy http://[redacted]@proxy:3128/x refused"},
		{"an @ behind the authority stays", "https://host/a@b", "https://host/a@b"},
		{"long text is cut", strings.Repeat("a", 200), strings.Repeat("a", 100) + "..."},
		{"a token at the cut goes whole", strings.Repeat("a", 90) + token, strings.Repeat("a", 90) + mark},
		{"letters are not cut in two", strings.Repeat("a", 99) + "üü", strings.Repeat("a", 99) + "..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Text(c.in, 100); got != c.want {
				t.Errorf("Text(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func FuzzText(f *testing.F) {
	f.Add("")
	f.Add("a " + token)
	f.Add("http://a:b@c://d@e")
	f.Add("\xff\xfeüü")
	f.Fuzz(func(t *testing.T, s string) {
		got := Text(s+" "+token+" ", 1<<20)
		if strings.Contains(got, token) {
			t.Errorf("Text(%q) = %q, which holds the token", s, got)
		}
		if short := Text(s, 16); utf8.ValidString(s) && !utf8.ValidString(short) {
			t.Errorf("Text(%q, 16) = %q, which is not UTF-8", s, short)
		}
	})
}
