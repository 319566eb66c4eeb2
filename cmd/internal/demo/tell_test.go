package demo

import (
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	for _, c := range []struct {
		name, text string
		room       int
		line, rest string
	}{
		{"fits", "one two", 7, "one two", ""},
		{"is cut at the last blank", "one two three", 8, "one two", "three"},
		{"is cut where it just fits", "one two three", 7, "one two", "three"},
		{"a long word stays whole", "https://example.com/x and", 8, "https://example.com/x", "and"},
		{"only a long word", "https://example.com/x", 8, "https://example.com/x", ""},
		{"its indent is no place to cut", "    abcdefgh ij", 6, "    abcdefgh", "ij"},
		{"counts characters, not bytes", "äöü äöü", 7, "äöü äöü", ""},
		{"empty", "", 8, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if line, rest := fold(c.text, c.room); line != c.line || rest != c.rest {
				t.Errorf("fold(%q, %d) = %q, %q, want %q, %q", c.text, c.room, line, rest, c.line, c.rest)
			}
		})
	}
}

func TestTellerShowsHomeAndEscapes(t *testing.T) {
	var b strings.Builder
	show := &printer{w: &b, home: "/tmp/x/home"}
	show.output("changed /tmp/x/home/.gitconfig\n\x1b[2J\tend")
	if want := "changed ~/.gitconfig\n\\x1b[2J    end\n"; b.String() != want {
		t.Errorf("output = %q, want %q", b.String(), want)
	}
}

func TestTellerIndentsWhatGoesOn(t *testing.T) {
	var b strings.Builder
	show := &printer{w: &b}
	show.paragraph("", "  "+strings.Repeat("word ", 30))
	for i, line := range strings.Split(strings.TrimRight(b.String(), "\n"), "\n") {
		if want := []string{"  word", "      word"}[i]; !strings.HasPrefix(line, want) || len(line) > width {
			t.Errorf("line %d = %q, want at most %d columns that begin with %q", i+1, line, width, want)
		}
	}
}

func TestTellerPaintsEachLine(t *testing.T) {
	var b strings.Builder
	show := &printer{w: &b, colour: true}
	show.command("git fetch")
	show.output("plain\n")
	if want := "\x1b[36m$ git fetch\x1b[0m\nplain\n"; b.String() != want {
		t.Errorf("story = %q, want %q", b.String(), want)
	}
}

func TestParseVersion(t *testing.T) {
	for _, c := range []struct {
		out  string
		text string
		new  bool
	}{
		{"git version 2.39.5\n", "2.39.5", false},
		{"git version 2.46.0\n", "2.46.0", true},
		{"git version 2.39.5 (Apple Git-154)\n", "2.39.5 (Apple Git-154)", false},
		{"git version 3.0.0-rc1\n", "3.0.0-rc1", true},
		{"what?\n", "what?", false},
	} {
		v := parseVersion(c.out)
		if v.text != c.text || v.atLeast(2, 46) != c.new {
			t.Errorf("parseVersion(%q) = %+v, at least 2.46: %v, want %q, %v", c.out, v, v.atLeast(2, 46), c.text, c.new)
		}
	}
}
