package filestore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gatepass/gatepass/store"
)

// Something else in the place of the folder of blocks is not an empty folder: that
// would unblock everything.
func TestWhatIsNoFolderIsNotListed(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a file":              func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a link":              func(path string) error { return os.Symlink("elsewhere", path) },
		"a link to somewhere": func(path string) error { return os.Symlink(filepath.Dir(path), path) },
	} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, store.AllBlocks().String())
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		s := &Store{dir: dir}
		if blocks, err := store.ReadBlocks(t.Context(), s); err == nil {
			t.Errorf("%s: ReadBlocks = %+v, want an error", name, blocks)
		}
	}
}
