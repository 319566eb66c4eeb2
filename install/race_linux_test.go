package install

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatepass/gatepass/install/place"

	"golang.org/x/sys/unix"
)

// The link may appear between the check of a directory and its opening. The attacker
// here is another user of an image while root installs into it.
func TestALinkIsNotFollowedInARace(t *testing.T) {
	if testing.Short() {
		t.Skip("races for a while")
	}
	top := t.TempDir()
	for _, dir := range []string{"theirs", "way"} {
		if err := os.Mkdir(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link(t, "theirs", filepath.Join(top, "link"))
	stop := exchange(t, filepath.Join(top, "way"), filepath.Join(top, "link"))
	p := place.Place{Root: openRoot(t, top), Name: "way/f"}
	for range 20000 {
		var u rollback
		_ = Copy{Change: create, place: p, text: []byte("ours")}.prepare(time.Now(), &u)
	}
	stop()
	if entries, err := os.ReadDir(filepath.Join(top, "theirs")); err != nil || len(entries) != 0 {
		t.Errorf("where the link leads: %v, %v, want nothing", entries, err)
	}
}

// A pipe in the place of a file would make root wait for a writer who never comes.
func TestAPipeIsNotWaitedForInARace(t *testing.T) {
	top := t.TempDir()
	put(t, filepath.Join(top, "f"), "text", 0o644)
	if err := unix.Mkfifo(filepath.Join(top, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	stop := exchange(t, filepath.Join(top, "f"), filepath.Join(top, "pipe"))
	p := place.Place{Root: openRoot(t, top), Name: "f"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20000 {
			_, _, _ = p.Read()
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it waits for a pipe")
	}
	stop()
}

// exchange exchanges two files again and again until stop is called.
func exchange(t *testing.T, a, b string) (stop func()) {
	t.Helper()
	swap := func() error { return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) }
	if err := swap(); err != nil {
		t.Skip("missing: renameat2: ", err)
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				_ = swap()
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}
