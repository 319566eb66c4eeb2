//go:build linux

package main

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// "make test" leaves long tests out, and no change may reach main without them: each
// package with such tests has a suite.
func TestWhatShortTestsLeaveOutRuns(t *testing.T) {
	root := os.DirFS("../..")
	var left int
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		mark := map[string]string{".go": "testing." + "Short()", ".txtar": "[short] skip"}[filepath.Ext(file)]
		if mark == "" {
			return nil
		}
		text, err := fs.ReadFile(root, file)
		if err != nil || !bytes.Contains(text, []byte(mark)) {
			return err
		}
		left++
		if !inSuite(testsOf(file)) {
			t.Errorf("%s leaves tests out of make test, and no suite runs them", file)
		}
		return nil
	})
	if err != nil || left == 0 {
		t.Errorf("%d files leave tests out, %v", left, err)
	}
}

// testsOf returns the folder of the tests that use a file; testdata of the module is
// that of package cmd.
func testsOf(file string) string {
	if strings.HasPrefix(file, "testdata/") {
		return "cmd"
	}
	dir, _, _ := strings.Cut(file, "/testdata/")
	if dir == file {
		dir = path.Dir(file)
	}
	return dir
}

func inSuite(dir string) bool {
	for _, su := range suites {
		pattern := strings.TrimPrefix(su.pattern, "./")
		parent, below := strings.CutSuffix(pattern, "/...")
		if dir == parent || below && strings.HasPrefix(dir, parent+"/") {
			return true
		}
	}
	return false
}
