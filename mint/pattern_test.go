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

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, owner, name string
		want                 bool
	}{
		{"acme/api", "acme", "api", true},
		{"acme/api", "Acme", "API", true},
		{"acme/api", "acme", "api-secret", false}, // what has no star is no prefix
		{"acme/api", "acme", "ap", false},
		{"acme/api", "octo", "api", false},
		{"acme/api-*", "acme", "API-secret", true},
		{"acme/api-*", "acme", "api", false},
		{"acme/*", "acme", "anything", true},
		{"acme/*", "acmes", "anything", false},
		{"*", "anybody", "anything", true},
	} {
		if got := parse(t, c.pattern)[0].Match(c.owner, c.name); got != c.want {
			t.Errorf("%s matches %s/%s = %v, want %v", c.pattern, c.owner, c.name, got, c.want)
		}
	}
	if (Pattern{}).Match("", "") {
		t.Error("the zero Pattern matches, want nothing")
	}
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"acme/api", "ACME/Api", true},
		{"acme/api", "acme/api#7", true},
		{"acme/api", "octo/api", false},
		{"acme/api", "acme/apis", false},
		{"acme/api", "acme/api*", false},
		{"*", "*", true},
		{"*", "acme/*", false},
	} {
		if got := parse(t, c.p)[0].Equal(parse(t, c.q)[0]); got != c.want {
			t.Errorf("%s equals %s = %v, want %v", c.p, c.q, got, c.want)
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
