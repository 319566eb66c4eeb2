package install

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The link may come between the look at a directory and its opening. The one who
// races here is another user of an image while root installs into it.
func TestALinkIsNotFollowedInARace(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"theirs", "way"} {
		if err := os.Mkdir(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link(t, "theirs", filepath.Join(top, "link"))
	exchange := func() error {
		return unix.Renameat2(unix.AT_FDCWD, filepath.Join(top, "way"), unix.AT_FDCWD, filepath.Join(top, "link"), unix.RENAME_EXCHANGE)
	}
	if err := exchange(); err != nil {
		t.Skip("missing: renameat2: ", err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = exchange()
			}
		}
	}()
	p := place{root: openRoot(t, top), name: "way/f"}
	for range 20000 {
		var u undoing
		_ = Copy{Change: create, place: p, text: []byte("ours")}.prepare(time.Now(), &u)
	}
	close(stop)
	<-stopped
	if entries, err := os.ReadDir(filepath.Join(top, "theirs")); err != nil || len(entries) != 0 {
		t.Errorf("where the link leads: %v, %v, want nothing", entries, err)
	}
}
