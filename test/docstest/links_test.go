package docstest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	linked  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchor is what GitHub makes of a heading: lower case, hyphens for spaces, and
// of the rest letters, digits, hyphens and underscores.
func anchor(title string) string {
	title = strings.ToLower(strings.TrimSpace(linked.ReplaceAllString(title, "$1")))
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return r
		}
		return -1
	}, title)
}

// anchors are those of a page; a title that comes again has a number.
func anchors(prose string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(prose, -1) {
		name := anchor(m[1])
		for i := 1; found[name]; i++ {
			name = fmt.Sprintf("%s-%d", anchor(m[1]), i)
		}
		found[name] = true
	}
	return found
}

func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		_, prose := blocks(read(t, page))
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if strings.HasPrefix(m[1], "https://") {
				continue
			}
			links++
			to, name, _ := strings.Cut(m[1], "#")
			file := page
			if to != "" {
				file = path.Join(path.Dir(page), to)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s leads to %s, which is not there", page, m[1])
				continue
			}
			if name == "" {
				continue
			}
			if _, prose := blocks(read(t, file)); !anchors(prose)[name] {
				t.Errorf("%s leads to %s, which has no such heading", page, m[1])
			}
		}
	}
	if links < 50 {
		t.Errorf("%d links were looked at, want all of them", links)
	}
}

// Every page for users is a link away from the README or from another page.
func TestPagesAreFound(t *testing.T) {
	named := map[string]bool{"README.md": true}
	for _, page := range pages(t) {
		_, prose := blocks(read(t, page))
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			to, _, _ := strings.Cut(m[1], "#")
			named[path.Join(path.Dir(page), to)] = true
		}
	}
	for _, page := range pages(t) {
		if !named[page] {
			t.Errorf("no page leads to %s", page)
		}
	}
}
