//go:build unix

package filestamp

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWhatChangesAStamp(t *testing.T) {
	then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name                        string
		change                      func(path string) error
		isEqual, isFile, isSameText bool
	}{
		{"nothing", func(string) error { return nil }, true, true, true},
		{"the text, in place", func(path string) error { return os.WriteFile(path, []byte("two"), 0o600) }, false, true, false},
		{"the length alone", func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("three"), 0o600), os.Chtimes(path, then, then))
		}, false, true, false},
		{"who may read it", func(path string) error { return os.Chmod(path, 0o640) }, false, true, true},
		{"the file, by another of the same length and time", func(path string) error {
			return errors.Join(os.WriteFile(path+"x", []byte("two"), 0o600), os.Chtimes(path+"x", then, then), os.Rename(path+"x", path))
		}, false, false, false},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := errors.Join(os.WriteFile(path, []byte("one"), 0o600), os.Chtimes(path, then, then)); err != nil {
			t.Fatal(err)
		}
		was, err := Of(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.change(path); err != nil {
			t.Fatal(err)
		}
		now, err := Of(path)
		if err != nil || (now == was) != c.isEqual || now.SameFile(was) != c.isFile || now.SameText(was) != c.isSameText {
			t.Errorf("%s changed: equal %v, one file %v, one text %v, %v", c.name, now == was, now.SameFile(was), now.SameText(was), err)
		}
	}
	if got, err := Of(filepath.Join(t.TempDir(), "none")); got != (Stamp{}) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Of no file = %v, %v, want the zero Stamp and an error", got, err)
	}
}
