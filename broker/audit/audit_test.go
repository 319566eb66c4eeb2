package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
)

func open(t *testing.T, path string) *Log {
	t.Helper()
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func write(t *testing.T, l *Log, n int) {
	t.Helper()
	for i := range n {
		e := broker.Entry{Time: time.Now(), Kind: broker.KindRequest, Workspace: fmt.Sprint("sb-", i), Detail: "a \"quoted\" \u2028 text,\"hash\":\""}
		if err := l.Write(t.Context(), e, i%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// holds checks that the files are one chain that ends at the log's head.
func holds(t *testing.T, l *Log, paths ...string) Report {
	t.Helper()
	r, err := Verify(paths...)
	if err != nil {
		t.Fatal(err)
	}
	if seq, hash := l.Head(); r.Last != seq || r.Head != hash || !r.IsWhole() {
		t.Errorf("Verify = %+v, want a whole chain up to %d %s", r, seq, hash)
	}
	return r
}

func TestAChainGoesOnOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for range 3 {
		l := open(t, path)
		write(t, l, 5)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		holds(t, l, path)
		if err := l.Write(t.Context(), broker.Entry{}, true); err == nil {
			t.Error("a closed log takes entries")
		}
	}
	if r, _ := Verify(path); r.Lines != 16 || len(r.Notes) != 0 {
		t.Errorf("Verify = %+v, want the head and 15 lines, and nothing to note", r)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v, want 0600", info.Mode(), err)
	}
}

// Every line is a JSON object for any JSON reader.
func TestLinesAreJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, open(t, path), 2)
	for text := range bytes.Lines(read(t, path)) {
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil || got["seq"] == nil || got["prev"] == nil || got["hash"] == nil || got["kind"] == nil {
			t.Errorf("line %s: %v", text, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	write(t, open(t, path), 2)
	at := func(name string, data []byte, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(p, data, 0o600), os.Chmod(p, mode)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(at("target", nil, 0o600), link); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(read(t, path), []byte("sb-1"), []byte("sb-2"), 1)
	for _, c := range []struct{ name, path, want string }{
		{"a log that is open", path, "another process writes it"},
		{"a symbolic link", link, "symbolic link"},
		{"a folder", dir, "is a directory"},
		{"a device", os.DevNull, "it is not a regular file"},
		{"what others may write", at("shared", nil, 0o660), "other users can write to it (mode 0660); run chmod 0600 " + dir},
		{"what others may read and lock", at("open", nil, 0o604), "other users can read and lock it (mode 0604); run chmod o= " + dir},
		{"a line that was changed", at("changed", changed, 0o600), "its end is damaged after number 2"},
		{"another file", at("other", []byte("hello\n"), 0o600), "); check it with gatepass audit verify, and move it away"},
		{"lines without a head", at("headless", read(t, path)[bytes.IndexByte(read(t, path), '\n')+1:], 0o600), "it does not begin with the head of an audit log"},
		{"a file that is no log", at("small", bytes.Repeat([]byte("x"), maxLine/2), 0o600), "the text after its last line is not a line of the log; move the file away"},
		{"a large file", at("large", bytes.Repeat([]byte("x"), 2*tailSize), 0o600), "its last line is not a line of an audit log; move the file away"},
		{"no folder", filepath.Join(dir, "none", "none", "audit"), "no such file"},
	} {
		before, _ := os.ReadFile(c.path)
		l, err := Open(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open = %v, %v, want %q", c.name, l, err, c.want)
		}
		if after, _ := os.ReadFile(c.path); !bytes.Equal(before, after) {
			t.Errorf("%s: Open changed the file", c.name)
		}
	}
}

// In a pod, a volume belongs to root, and the broker's group can write to it: a log
// directly in it could be replaced, a log in the broker's own directory cannot.
func TestAFolderIsMadeInAVolume(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has directories of root's")
	}
	volume := t.TempDir()
	if err := os.Chmod(volume, 0o775|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(filepath.Join(volume, "audit.jsonl")); err == nil || !strings.Contains(err.Error(), "the group of "+volume+" can write to it") {
		t.Errorf("Open in the volume itself = %v, %v, want a refusal", l, err)
	}
	path := filepath.Join(volume, "audit", "audit.jsonl")
	if err := Check(path); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("Check makes a folder")
	}
	write(t, open(t, path), 1)
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v, want mode 0700", info, err)
	}
	if err := os.Chmod(volume, 0o777); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(filepath.Join(volume, "other", "audit.jsonl")); err == nil || !strings.Contains(err.Error(), "open to all") {
		t.Errorf("Open in a volume that is open to all = %v, %v, want a refusal", l, err)
	}
}

// A crash in the middle of a line is never silent, wherever the line was cut.
func TestATornLineIsRepaired(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	l := open(t, whole)
	write(t, l, 2)
	text := read(t, whole)
	last := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
	for cut := 1; cut < len(text); cut += 3 {
		path := filepath.Join(dir, fmt.Sprint("cut", cut))
		if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(path); (err == nil) != (text[cut-1] == '\n') {
			t.Fatalf("cut after %d of %d: Verify = %v", cut, len(text), err)
		}
		l, err := Open(path)
		if err != nil {
			t.Fatalf("cut after %d: %v", cut, err)
		}
		write(t, l, 1)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		r := holds(t, l, path)
		isTorn := text[cut-1] != '\n'
		if after := read(t, path); isTorn && !bytes.Contains(after, []byte(`"torn":"`)) || cut > last && isTorn && len(r.Notes) != 1 {
			t.Errorf("cut after %d: the log does not say so: %q", cut, r.Notes)
		}
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	write(t, l, 3)
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	old := path + ".1"
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	write(t, l, 1) // still written to the old file
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, l, 3)
	holds(t, l, old, path)
	if _, err := Verify(path, old); err == nil {
		t.Error("the files hold in another order")
	}
	if r, err := Verify(path); err != nil || r.IsWhole() {
		t.Errorf("Verify = %+v, %v, want a chain that goes on from elsewhere", r, err)
	}
	if _, err := Open(path); err == nil {
		t.Error("the new file is not locked")
	}
	if err := errors.Join(os.Rename(path, path+".2"), os.WriteFile(path, []byte("{}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("the log goes on in a file of somebody else")
	}
	write(t, l, 1)
	holds(t, l, old, path+".2")
}

func TestRotationBySize(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	l := open(t, path)
	l.MaxSize = 2000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { write(t, l, 20) })
	}
	wg.Wait()
	old, err := filepath.Glob(path + ".*")
	if err != nil || len(old) < 5 {
		t.Fatalf("%d files were begun, %v", len(old), err)
	}
	// The name ends with the number of the file's last line.
	ordered := make([]string, 0, len(old)+1)
	for seq := 1; seq < 200; seq++ {
		for _, p := range old {
			if strings.HasSuffix(p, fmt.Sprint("-", seq)) {
				ordered = append(ordered, p)
			}
		}
	}
	ordered = append(ordered, path)
	holds(t, l, ordered...)
	for i, p := range ordered[1:] {
		head, _, _ := bytes.Cut(read(t, p), []byte{'\n'})
		if r, err := parse(head); err != nil || r.File != ordered[i] {
			t.Errorf("the head of %s goes on from %q, %v, want %s", p, r.File, err, ordered[i])
		}
	}
}

// counting counts syncs; each takes until all goroutines have written.
type counting struct {
	file
	syncs   atomic.Int32
	written func() bool
}

func (c *counting) Sync() error {
	c.syncs.Add(1)
	for deadline := time.Now().Add(time.Minute); !c.written() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	return c.file.Sync()
}

func TestManyWaitForOneSync(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.jsonl"))
	const writers = 200
	last := l.seq + writers
	l.file = &counting{file: l.file, written: func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.seq >= last
	}}
	c := l.file.(*counting)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			if err := l.Write(t.Context(), broker.Entry{Kind: broker.KindIntent}, true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := c.syncs.Load(); n > 4 {
		t.Errorf("%d entries took %d syncs", writers, n)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.synced != l.seq {
		t.Errorf("lines up to %d are on the disk, want %d", l.synced, l.seq)
	}
}

func TestWhatIsNotDurableReachesTheDiskSoon(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.jsonl"))
	write(t, l, 2)
	for range 6000 {
		l.mu.Lock()
		isSynced := l.synced == l.seq
		l.mu.Unlock()
		if isSynced {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a minute passed and the line is not on the disk")
}

func TestCopiesAreOfWhatIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	var got bytes.Buffer
	l.Copy = func(text []byte, r Record) {
		fmt.Fprintf(&got, "%s\n", text)
		if line, err := parse(text); err != nil || line.Seq != r.Seq || line.Prev != r.Prev || line.Hash != r.Hash || line.Kind != r.Kind {
			t.Errorf("a copy is the line %+v, %v, want %+v", line, err, r)
		}
	}
	head := read(t, path)
	write(t, l, 4)
	if want := read(t, path)[len(head):]; !bytes.Equal(got.Bytes(), want) {
		t.Errorf("copies:\n%s\nwant\n%s", got.Bytes(), want)
	}
}
