package audit

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gatepass/gatepass/broker"
)

// smallDisk returns a folder with room for 16 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16k", "gatepass", dir).Run(); err != nil {
		t.Skip("missing: the right to mount: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Deleting the log, or moving it to another disk, must make room: a log that kept the
// deleted file open would keep the disk full, and refuse until it is restarted.
func TestAFullDiskThatIsEmptiedByDeleting(t *testing.T) {
	path := filepath.Join(smallDisk(t), "audit.jsonl")
	l := open(t, path)
	var err error
	for err == nil {
		err = l.Write(t.Context(), broker.Entry{Kind: broker.KindRequest, Detail: strings.Repeat("x", 100)}, false)
	}
	seq, _ := l.Head()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_ = l.Ready() // finds no room for a head
	if err := l.Ready(); err != nil {
		t.Errorf("Ready = %v after room was made", err)
	}
	write(t, l, 2)
	lines := slices.Collect(bytes.Lines(read(t, path)))
	if r := headed(t, path); r.Seq != seq+1 || len(lines) != 4 || !bytes.Contains(lines[1], []byte(KindRecovered)) {
		t.Errorf("the file is %s, want a head that goes on after number %d, what was refused, and two lines", read(t, path), seq)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// While the disk is full, writes are refused; afterwards the log recovers.
func TestAFullDiskFailsClosed(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "audit.jsonl")
	l := open(t, path)
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 8<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	written := 0
	for range 200 {
		if err = l.Write(t.Context(), broker.Entry{Kind: broker.KindRequest, Detail: strings.Repeat("x", 100)}, false); err != nil {
			break
		}
		written++
	}
	if err == nil || !strings.Contains(err.Error(), "no space left") || written < 5 {
		t.Fatalf("%d lines were written, then %v", written, err)
	}
	for range 3 {
		if err := l.Write(t.Context(), broker.Entry{Kind: broker.KindRequest}, true); err == nil {
			t.Fatal("a full disk takes an entry")
		}
	}
	if err := l.Ready(); err == nil {
		t.Error("a log on a full disk is ready")
	}
	holds(t, l, path)
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(); err != nil {
		t.Error(err)
	}
	write(t, l, 2)
	if r := holds(t, l, path); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "4 entries were refused") {
		t.Errorf("the log notes %q, want 4 entries that are missing", r.Notes)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// sick fails in the way that its next word names.
type sick struct {
	file
	ways []string
}

func (s *sick) next(way string) error {
	if len(s.ways) == 0 || s.ways[0] != way {
		return nil
	}
	s.ways = s.ways[1:]
	return errors.New("no " + way)
}

func (s *sick) Sync() error {
	if err := s.next("sync"); err != nil {
		return err
	}
	return s.file.Sync()
}

func (s *sick) Truncate(size int64) error {
	if err := s.next("truncate"); err != nil {
		return err
	}
	return s.file.Truncate(size)
}

func (s *sick) Write(p []byte) (int, error) {
	if err := s.next("half"); err != nil {
		n, _ := s.file.Write(p[:len(p)/2])
		return n, err
	}
	return s.file.Write(p)
}

func TestTroubleOfTheDisk(t *testing.T) {
	for _, c := range []struct {
		ways string // one word for each call
		want int    // number of refused entries
		note string
	}{
		{"half", 1, "1 entries were refused"},
		{"half truncate", 1, "1 entries were refused"},
		{"half truncate truncate", 2, "2 entries were refused"},
		{"sync", 1, "0 entries were refused"},
		{"sync sync", 2, "1 entries were refused"},
		{"sync half truncate half", 3, "2 entries were refused"},
	} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := open(t, path)
		l.file = &sick{l.file, strings.Fields(c.ways)}
		refused := 0
		for range 6 {
			if err := l.Write(t.Context(), broker.Entry{Kind: broker.KindIntent}, true); err != nil {
				refused++
			}
		}
		if refused != c.want {
			t.Errorf("%s: %d entries were refused, want %d", c.ways, refused, c.want)
		}
		if r := holds(t, l, path); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], c.note) {
			t.Errorf("%s: the log notes %q, want %q", c.ways, r.Notes, c.note)
		}
		if isUncertain := bytes.Contains(read(t, path), []byte(`"uncertain":`)); isUncertain != strings.Contains(c.ways, "sync") {
			t.Errorf("%s: what may not have reached the disk is noted: %v", c.ways, isUncertain)
		}
	}
}
