package audit

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// copyTruncate does what logrotate does with copytruncate.
func copyTruncate(t *testing.T, path, to string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(to, read(t, path), 0o600), os.Truncate(path, 0)); err != nil {
		t.Fatal(err)
	}
}

// headed checks that a file starts with a head, and returns the head.
func headed(t *testing.T, path string) Record {
	t.Helper()
	first, _, _ := bytes.Cut(read(t, path), []byte{'\n'})
	r, err := parse(first)
	if err != nil || r.Kind != KindHead {
		t.Fatalf("%s begins with %s, %v, want a head", path, first, err)
	}
	return r
}

// Rotation by copytruncate is noticed before the next line. Otherwise the file would
// start in the middle of a chain; it could not be verified, and no broker could open it
// again (hashicorp/vault#472).
func TestAChainGoesOnAfterCopyTruncate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	write(t, l, 5)
	size := len(read(t, path))
	copyTruncate(t, path, path+".1")
	write(t, l, 3)
	if r := headed(t, path); r.Lost != int64(size) {
		t.Errorf("the head says that %d bytes are gone, want %d", r.Lost, size)
	}
	copyTruncate(t, path, path+".2")
	if err := l.Reopen(); err != nil { // as the broker does every second
		t.Fatal(err)
	}
	headed(t, path)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	write(t, again, 2)
	r := holds(t, again, path+".1", path+".2", path)
	if len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "another program emptied the file") {
		t.Errorf("Verify notes %q, want that the file was emptied twice", r.Notes)
	}
	for line, err := range Read(bytes.NewReader(read(t, path))) {
		if err != nil {
			t.Errorf("line %d: %v", line.Seq, err)
		}
	}
}

// emptied is a file that is emptied just before its next writes.
type emptied struct {
	file
	path   string
	writes int // number of these writes
}

func (e *emptied) Write(p []byte) (int, error) {
	if e.writes--; e.writes >= 0 {
		if err := os.Truncate(e.path, 0); err != nil {
			return 0, err
		}
	}
	return e.file.Write(p)
}

// The file may be emptied between the check and the write.
func TestCopyTruncateInTheMiddleOfAWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	write(t, l, 2)
	old := path + ".1"
	if err := os.WriteFile(old, read(t, path), 0o600); err != nil {
		t.Fatal(err)
	}
	l.file = &emptied{l.file, path, 1}
	write(t, l, 3)
	headed(t, path)
	holds(t, l, old, path)
}

// Copying and emptying during many writes loses only what copytruncate itself loses:
// every file starts with a head, is a valid chain, and can be opened again.
func TestCopyTruncateWhileManyWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if err := l.Write(t.Context(), broker.Entry{Kind: broker.KindRequest}, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		if err := os.Truncate(path, 0); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	write(t, l, 1)
	headed(t, path)
	if r, err := Verify(path); err != nil || r.Head != l.hash {
		t.Errorf("Verify = %+v, %v", r, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

// Lines removed from the end are never hidden: the rest of the file is renamed, the
// next file continues after the last written line, and verify finds what is missing.
func TestAFileThatWasCutOffIsSetAside(t *testing.T) {
	for name, change := range map[string]func(data []byte) []byte{
		"cut off in a line":  func(data []byte) []byte { return data[:len(data)/2] },
		"cut off at its end": func(data []byte) []byte { return data[:bytes.LastIndexByte(data[:len(data)-1], '\n')+1] },
		"the end alone":      func(data []byte) []byte { return data[bytes.IndexByte(data, '\n')+1:] },
		"more behind it":     func(data []byte) []byte { return append(data, "hello\n"...) },
	} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := open(t, path)
		write(t, l, 4)
		changed := change(read(t, path))
		if err := os.WriteFile(path, changed, 0o600); err != nil { // in place
			t.Fatal(err)
		}
		write(t, l, 3)
		aside, err := filepath.Glob(path + ".*")
		if err != nil || len(aside) != 1 || !bytes.Equal(read(t, aside[0]), changed) {
			t.Fatalf("%s: %q, %v, want the rest of the file under another name", name, aside, err)
		}
		if r := headed(t, path); r.Seq != 6 || r.File != aside[0] {
			t.Errorf("%s: the head is %+v, want number 6, after %s", name, r, aside[0])
		}
		if _, err := Verify(aside[0], path); err == nil {
			t.Errorf("%s: Verify = nil, want it found", name)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		open(t, path)
	}
}

// A log that cannot begin another file is not ready, and writes nothing that looks
// complete.
func TestAFileThatCannotBeSetAsideRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	l := open(t, path)
	write(t, l, 4)
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Link(filepath.Join(dir+".away", "audit.jsonl"), path)); err != nil {
		t.Fatal(err)
	}
	blocked := func() error { return l.Write(t.Context(), broker.Entry{Kind: broker.KindIntent}, false) }
	if err := exec.Command("chattr", "+i", path).Run(); err != nil { // a file that even root cannot rename
		t.Skip("missing: chattr: ", err)
	}
	t.Cleanup(func() { _ = exec.Command("chattr", "-i", path).Run() })
	if err := blocked(); err == nil {
		t.Error("Write = nil, want an error")
	}
	if err := l.Ready(); err == nil {
		t.Error("Ready = nil, want an error")
	}
	if err := exec.Command("chattr", "-i", path).Run(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(blocked(), l.Ready()); err != nil {
		t.Error(err)
	}
}

// After logrotate renamed the file, or it was deleted, the next line goes into a file
// with the log's name, not into the old one.
func TestARenamedOrDeletedFileIsNoticedAtOnce(t *testing.T) {
	for name, move := range map[string]func(path string) error{
		"renamed": func(path string) error { return os.Rename(path, path+".1") },
		"renamed, with a next": func(path string) error {
			return errors.Join(os.Rename(path, path+".1"), os.WriteFile(path, nil, 0o600))
		},
		"deleted": os.Remove,
		"its folder deleted": func(path string) error {
			return errors.Join(os.RemoveAll(filepath.Dir(path)), os.Mkdir(filepath.Dir(path), 0o700))
		},
	} {
		path := filepath.Join(t.TempDir(), "log", "audit.jsonl")
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		l := open(t, path)
		write(t, l, 3)
		if err := move(path); err != nil {
			t.Fatal(err)
		}
		write(t, l, 2)
		if r := headed(t, path); r.Seq != 5 {
			t.Errorf("%s: the head is number %d, want 5", name, r.Seq)
		}
		if _, err := os.Stat(path + ".1"); err == nil {
			holds(t, l, path+".1", path)
		}
	}
}

// Lines written into a deleted file are lost, so the log must refuse them.
func TestADeletedFileThatCannotBeMadeAgainRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "audit.jsonl")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l := open(t, path)
	write(t, l, 1)
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Write(t.Context(), broker.Entry{Kind: broker.KindRequest}, false); err == nil {
			t.Error("Write = nil, want an error")
		}
		if err := l.Ready(); err == nil {
			t.Error("Ready = nil, want an error")
		}
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, l, 1)
	if r, err := Verify(path); err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "2 entries were refused") {
		t.Errorf("Verify = %+v, %v, want a note of what was refused", r, err)
	}
}

// If a durable line was removed from the file before it was on disk, Write returns an
// error.
func TestADurableLineThatIsGoneIsNoneThatIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	l.mu.Lock()
	l.later = time.NewTimer(time.Hour) // without a sync in the background
	l.mu.Unlock()
	seq, err := l.append(broker.Entry{Kind: broker.KindIntent})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.append(broker.Entry{Kind: broker.KindRequest}); err != nil {
		t.Fatal(err)
	}
	if err := l.sync(seq); !errors.Is(err, errEmptied) {
		t.Errorf("sync = %v, want %v", err, errEmptied)
	}
	if r := headed(t, path); r.Uncertain != seq {
		t.Errorf("the head says that lines from %d on are uncertain, want %d", r.Uncertain, seq)
	}
	write(t, l, 2)
}

// A full disk and rotation by copytruncate often come together.
func TestAFullDiskThatIsEmptiedByCopyTruncate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	write(t, l, 3)
	l.file = &sick{l.file, []string{"half", "truncate"}}
	if err := l.Write(t.Context(), broker.Entry{Kind: broker.KindRequest}, false); err == nil {
		t.Fatal("Write = nil, want an error")
	}
	old := path + ".1"
	if err := os.WriteFile(old, read(t, path), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	write(t, l, 2)
	lines := slices.Collect(bytes.Lines(read(t, path)))
	if r := headed(t, path); r.Seq != 5 || len(lines) != 4 || !bytes.Contains(lines[1], []byte(KindRecovered)) || bytes.ContainsRune(read(t, path), 0) {
		t.Errorf("the file is %s, want a head, what was refused, and two lines", read(t, path))
	}
	if r, err := Verify(path); err != nil || len(r.Notes) != 2 {
		t.Errorf("Verify = %+v, %v, want two notes", r, err)
	}
}
