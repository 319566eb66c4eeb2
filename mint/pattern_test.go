package mint

import (
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	for _, good := range []string{"a/b", "a/*", "a/b-*", "*", "A-1/x.y_z", "a_corp/b", "a/.github", "a/.*", "a/x.*"} {
		if p, err := ParsePattern(good); err != nil || p.String() != good {
			t.Errorf("ParsePattern(%q) = %v, %v, want it", good, p, err)
		}
	}
	for _, bad := range []string{"", "a", "/b", "a/", "*/b", "a*/b", "a/*b", "a/b*c", "a/**", "**", "a/b/c", "a/..", "a/b.git", "a/b.wiki", "https://github.com/a/b", "a/b?", "a/b ", "a/b\n", "-a/b", "a/b%2f", "a/ä"} {
		if p, err := ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%q) = %v, want an error", bad, p)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, seed := range []string{"a/b", "a/*", "*", "a/b-*", "a/..", "a//b", "a/b.git", "\xff/*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePattern(text)
		if err != nil {
			return
		}
		if p.Everything() {
			if text != "*" {
				t.Errorf("ParsePattern(%q) means everything", text)
			}
			return
		}
		owner, rest, _ := strings.Cut(text, "/")
		if p.Owner() != strings.ToLower(owner) || !p.star && !p.Match(owner, rest) || p.Match(owner+"x", rest) || strings.Contains(rest, "/") {
			t.Errorf("ParsePattern(%q) = %+v", text, p)
		}
	})
}
