package mint

import (
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	for _, good := range []string{"a/b", "a/*", "a/b-*", "*", "A-1/x.y_z", "a_corp/b", "a/.github", "a/.*", "a/x.*", "a/b#1", "a/b#9007199254740993"} {
		if p, err := ParsePattern(good); err != nil || p.String() != good {
			t.Errorf("ParsePattern(%q) = %v, %v, want it", good, p, err)
		}
	}
	for _, bad := range []string{"", "a", "/b", "a/", "*/b", "a*/b", "a/*b", "a/b*c", "a/**", "**", "a/b/c", "a/..", "a/b.git", "a/b.wiki", "https://github.com/a/b", "a/b?", "a/b ", "a/b\n", "-a/b", "a/b%2f", "a/ä", "a/b#", "a/b#0", "a/b#-1", "a/b#+1", "a/b#01", "a/b# 1", "a/b#1x", "a/b#1#1", "a/*#1", "*#1", "a/b#99999999999999999999"} {
		if p, err := ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%q) = %v, want an error", bad, p)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, seed := range []string{"a/b", "a/*", "*", "a/b-*", "a/..", "a//b", "a/b.git", "\xff/*", "a/b#7", "a/b#007"} {
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
		if p.String() != text || p.ID() < 0 || strings.Contains(text, "#") != (p.ID() > 0) {
			t.Errorf("ParsePattern(%q) = %s with the id %d", text, p, p.ID())
		}
		owner, rest, _ := strings.Cut(p.Names(), "/")
		if p.Owner() != strings.ToLower(owner) || !p.star && !p.Match(owner, rest) || p.Match(owner+"x", rest) || strings.Contains(rest, "/") {
			t.Errorf("ParsePattern(%q) = %+v", text, p)
		}
	})
}
