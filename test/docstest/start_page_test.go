package docstest

import (
	"regexp"
	"strings"
	"testing"
)

// A step is a block of a quick start.
type step struct {
	page string
	block
	file    string // where the block is written to; "" for none
	notRun  string // why its commands are not run here
	instead string // what is run for them
	runBy   string // the package that runs it
	refused bool   // its last command has to fail
}

var (
	directive = regexp.MustCompile(`^<!-- (not run|instead|run by|after|refused)(?:: (.*))? -->$`)
	fileName  = regexp.MustCompile(`^(?:#|//) ([~./A-Za-z0-9_-]+)\n`)
)

// steps are the blocks of a quick start in their order, those of pages that it comes
// after first.
func steps(t *testing.T, page string) []step {
	t.Helper()
	var all []step
	next := step{page: page}
	fenced := false
	for line := range strings.Lines(read(t, page)) {
		fence, isFence := strings.CutPrefix(line, "```")
		said := directive.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		switch {
		case isFence && fenced:
			next.name()
			all, next, fenced = append(all, next), step{page: page}, false
		case isFence:
			next.language, fenced = strings.TrimSpace(fence), true
		case fenced:
			next.text += line
		case said != nil && said[1] == "after":
			all = append(all, steps(t, "docs/start/"+said[2])...)
		case said != nil:
			next.direct(said[1], said[2])
		case strings.HasPrefix(line, "<!--"):
			t.Errorf("%s: a comment that the test does not know: %s", page, line)
		case strings.TrimSpace(line) != "" && next != (step{page: page}):
			t.Errorf("%s: a comment is not before a block: %+v", page, next)
		}
	}
	return all
}

func (s *step) direct(word, text string) {
	switch word {
	case "not run":
		s.notRun = text
	case "instead":
		s.instead = text
	case "run by":
		s.runBy = text
	case "refused":
		s.refused = true
	}
}

// name finds the path in the first line of a block that is a file. Of JSON, which has no
// comments, the line is taken out.
func (s *step) name() {
	m := fileName.FindStringSubmatch(s.text)
	if m == nil || s.language == "sh" {
		return
	}
	s.file = m[1]
	if s.language == "json" {
		_, s.text, _ = strings.Cut(s.text, "\n")
	}
}

// isShell reports whether the block is commands.
func (s step) isShell() bool { return s.language == "sh" }
