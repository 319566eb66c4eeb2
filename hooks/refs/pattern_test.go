package refs

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

// oracle implements the documentation of pattern as directly as possible: without a
// library or a prefilter, and in exponential time. start means that pat and ref are at
// the beginning of a part.
func oracle(pat, ref string, start bool) bool {
	if pat == "" {
		return ref == ""
	}
	if rest, ok := strings.CutPrefix(pat, "**/"); ok && start && oracle(rest, ref, true) {
		return true // no part at all
	}
	_, size := utf8.DecodeRuneInString(ref) // 0 at the end
	if rest, ok := strings.CutPrefix(pat, "**"); ok {
		return oracle(rest, ref, false) || ref != "" && oracle(pat, ref[size:], false)
	}
	switch {
	case pat[0] == '*':
		return oracle(pat[1:], ref, false) || ref != "" && ref[0] != '/' && oracle(pat, ref[size:], false)
	case ref == "":
		return false
	case pat[0] == '?':
		return ref[0] != '/' && oracle(pat[1:], ref[size:], false)
	}
	return pat[0] == ref[0] && oracle(pat[1:], ref[1:], pat[0] == '/')
}

// checkAgainstOracles compares one pattern and ref with the oracle, and, for patterns
// without **, with path.Match, which is fnmatch with FNM_PATHNAME.
func checkAgainstOracles(t *testing.T, text, name string) {
	t.Helper()
	ref := "refs/heads/" + name
	p, err := compilePattern(text)
	if err != nil || CheckRef(ref) != nil {
		return
	}
	got := p.match(ref)
	if want := oracle(p.full, ref, true); got != want {
		t.Errorf("pattern %q matches %q = %v, want %v", text, ref, got, want)
	}
	if strings.Contains(text, "**") || !isASCII(name) {
		return // path.Match lets "*" match a part of a character
	}
	if want, err := path.Match(p.full, ref); err != nil || got != want {
		t.Errorf("pattern %q matches %q = %v, path.Match = %v, %v", text, ref, got, want, err)
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f })
}

// Every pattern of up to five of these pieces is compared with every name of up to
// five.
func TestPatternsAgreeWithOracles(t *testing.T) {
	patterns := words([]string{"a", "b", "/", "*", "**", "?"}, 5)
	names := words([]string{"a", "b", "/"}, 5)
	for _, pattern := range patterns {
		p, err := compilePattern(pattern)
		if err != nil {
			continue
		}
		for _, name := range names {
			if ref := "refs/heads/" + name; CheckRef(ref) == nil && p.match(ref) != oracle(p.full, ref, true) {
				t.Errorf("pattern %q matches %q = %v", pattern, ref, p.match(ref))
			}
		}
	}
}

// words returns all sequences of up to n pieces.
func words(pieces []string, n int) []string {
	all, last := []string{""}, []string{""}
	for range n {
		var next []string
		for _, w := range last {
			for _, p := range pieces {
				next = append(next, w+p)
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{
		{"main", "main"},
		{"release/*", "release/1"},
		{"a/**/b", "a/b"},
		{"**/b", "b"},
		{"b**ba", "ba"},
		{"?", "ü"},
		{"a*", "a\xff"},
		{"?", "\xff"},
		{"*]", "a]"},
		{"**/**", "a"},
		{"a,b", "a,b"},
		{"refs/heads/**", "x/y"},
		{"?**/a", "b/a"},
		{"0*??", "0뗉"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		if len(text) > 24 || len(name) > 24 {
			return // the oracle is exponential
		}
		checkAgainstOracles(t, text, name)
	})
}
