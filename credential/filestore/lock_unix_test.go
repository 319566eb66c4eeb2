//go:build unix

package filestore

import (
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/gatepass/gatepass/store"
)

// Two writers at once could lose an entry, so where no locks work nothing is written.
// "operation not supported" alone does not tell the user what to do.
func TestAFileSystemWithoutLocksIsNamed(t *testing.T) {
	defer func(was func(int, int) error) { flock = was }(flock)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(&url.URL{Scheme: "file", Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []syscall.Errno{syscall.EOPNOTSUPP, syscall.ENOLCK, syscall.ENOSYS} {
		flock = func(int, int) error { return no }
		err := s.Put(t.Context(), store.AppClientID(), store.NewSecret("x"), store.Replace)
		if err == nil || !strings.HasSuffix(err.Error(), "its file system has no locks; move the store to another file system") {
			t.Errorf("Put where flock(2) answers %q = %v, want what to do", no, err)
		}
	}
}
