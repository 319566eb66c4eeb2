package docstest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	folder  = regexp.MustCompile(`^[a-z][a-z0-9/-]*/$`)
	program = regexp.MustCompile(`^  [a-z][a-z/-]*[a-z] `)
)

// rooms are the folders that the picture of ARCHITECTURE.md names. A line begins
// with a folder of the root or, indented, with one in it. Others on the line lie
// in that one, or beside it. Programs have no slash.
func rooms(t *testing.T) map[string]bool {
	t.Helper()
	examples, _ := blocks(read(t, "ARCHITECTURE.md"))
	named, top := map[string]bool{}, ""
	for line := range strings.Lines(examples[0].text) {
		words := strings.Fields(line)
		if !strings.HasPrefix(line, " ") {
			top = words[0]
			named[path.Clean(top)] = true
			words = words[1:]
		}
		if program.MatchString(line) {
			named[path.Join(top, words[0])] = true
		}
		first := top
		for i, word := range words {
			if !folder.MatchString(word) {
				continue
			}
			at := path.Join(top, word)
			if _, err := os.Stat(filepath.Join(root, first, word)); err == nil {
				at = path.Join(first, word)
			}
			if named[at] = true; i == 0 && top != at {
				first = at
			}
		}
	}
	return named
}

// folders are those that hold Go files.
func folders(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		if err != nil || entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") {
			found[strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), root+"/")] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What lies in a folder that is named in another one need not be named itself.
func TestArchitectureNamesTheTree(t *testing.T) {
	named, there := rooms(t), folders(t)
	for at := range there {
		if in := path.Dir(at); !named[at] && (path.Dir(in) == "." || !named[in]) {
			t.Errorf("ARCHITECTURE.md does not name %s", at)
		}
	}
	for at := range named {
		if _, err := os.Stat(filepath.Join(root, at)); err != nil {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", at)
		}
	}
}
