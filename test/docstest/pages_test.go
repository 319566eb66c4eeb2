// Package docstest holds the pages for users against the tree: where their links lead,
// what their examples say, which folders they name. It does what the quick starts say.
package docstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// read returns a file of the project as text.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages are the project's pages, by their paths from its root.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/start/*.md", "docs/reference/*.md", "examples/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("pages %s = %v, %v, want some", pattern, paths, err)
		}
		for _, path := range paths {
			found = append(found, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		}
	}
	return found
}

// A block is an example: text between fences, or text that is indented.
type block struct {
	language string // what the fence names; "" for an indented block
	text     string
}

// blocks returns the examples of a page in their order, and the page without
// them.
func blocks(page string) (examples []block, prose string) {
	var rest strings.Builder
	var b *block
	fenced := false
	end := func() {
		if b != nil {
			examples = append(examples, *b)
		}
		b, fenced = nil, false
	}
	for line := range strings.Lines(page) {
		language, fence := strings.CutPrefix(line, "```")
		code, indented := strings.CutPrefix(line, "    ")
		switch {
		case fence && fenced:
			end()
		case fence:
			end()
			b, fenced = &block{language: strings.TrimSpace(language)}, true
		case fenced:
			b.text += line
		case indented && b == nil:
			b = &block{text: code}
		case indented:
			b.text += code
		case b != nil && strings.TrimSpace(line) == "":
			b.text += "\n"
		default:
			end()
			rest.WriteString(line)
		}
	}
	end()
	return examples, rest.String()
}
