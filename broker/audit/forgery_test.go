package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// An attacker who changes a line can give it a valid hash, but the next line has the
// old one.
func TestAForgedLineIsFoundByTheNext(t *testing.T) {
	all := slices.Collect(bytes.Lines(sample(t, 6)))
	for i := range len(all) - 1 {
		r, err := parse(all[i][:len(all[i])-1])
		if err != nil {
			t.Fatal(err)
		}
		r.Workspace = "sb-other"
		forged, _, err := encode(r.Seq, r.Prev, content{Entry: r.Entry, Note: r.Note})
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.Clone(all)
		lines[i] = forged
		data := bytes.Join(lines, nil)
		_, err = verified(data)
		if b, ok := errors.AsType[*Broken](err); !ok || b.Line != i+2 || !strings.Contains(err.Error(), "was replaced") {
			t.Errorf("line %d forged: Verify = %v, want it found in line %d", i+1, err, i+2)
		}
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "was replaced") {
			t.Errorf("line %d forged: Open = %v, want that it was replaced", i+1, err)
		}
	}
}

func TestVerifySaysWhatHappenedToLines(t *testing.T) {
	all := slices.Collect(bytes.Lines(sample(t, 6)))
	for _, c := range []struct {
		name  string
		lines [][]byte
		want  string
	}{
		{"one is gone", slices.Delete(slices.Clone(all), 3, 4), "number 5 after number 3: lines are missing"},
		{"three are gone", slices.Delete(slices.Clone(all), 1, 4), "number 5 after number 1: lines are missing"},
		{"one comes again", slices.Insert(slices.Clone(all), 4, all[3]), "number 4 after number 4: lines are repeated"},
		{"an older one comes again", slices.Insert(slices.Clone(all), 6, all[1]), "number 2 after number 6: lines are repeated"},
	} {
		if _, err := verified(bytes.Join(c.lines, nil)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Verify = %v, want %q", c.name, err, c.want)
		}
	}
}

// A line with a repeated key can be read in two ways, even if its hash is valid.
func TestALineSaysEverythingOnce(t *testing.T) {
	other := strings.Repeat("1", hashSize)
	for name, text := range map[string]string{
		"two numbers":      seqKey + "7" + prevKey + noHash + `","seq":8,"kind":"head"`,
		"two hashes":       seqKey + "7" + prevKey + noHash + `","prev":"` + other + `","kind":"head"`,
		"a short hash":     seqKey + "7" + prevKey + noHash[1:] + `","kind":"head"`,
		"another spelling": seqKey + "07" + prevKey + noHash + `","kind":"head"`,
		"no JSON":          seqKey + "7" + prevKey + noHash + `","kind":`,
		"another order":    `{"kind":"head",` + seqKey[1:] + "7" + prevKey + noHash + `"`,
	} {
		line := text + hashKey + sum([]byte(text)) + lineEnd
		if r, err := parse([]byte(line)); !errors.Is(err, errForm) {
			t.Errorf("%s: parse(%s) = %+v, %v, want %v", name, line, r, err, errForm)
		}
	}
	good := seqKey + "7" + prevKey + noHash + `","kind":"head"`
	if r, err := parse([]byte(good + hashKey + sum([]byte(good)) + lineEnd)); err != nil || r.Seq != 7 {
		t.Errorf("parse = %+v, %v, want number 7", r, err)
	}
}

// Only the end of a large log is verified before the log goes on.
func TestALargeLogIsGoneOnWith(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, path)
	for range 2 * tailSize / maxRef {
		if err := l.Write(t.Context(), broker.Entry{Kind: broker.KindIntent, Ref: strings.Repeat("x", maxRef)}, false); err != nil {
			t.Fatal(err)
		}
	}
	seq, hash := l.Head()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	if gotSeq, gotHash := again.Head(); gotSeq != seq || gotHash != hash {
		t.Errorf("Head = %d %s, want %d %s", gotSeq, gotHash, seq, hash)
	}
	write(t, again, 1)
	holds(t, again, path)
}

func TestAClosedLogSaysSo(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "log"))
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("Close = %v, want nil, however often", err)
		}
	}
	for name, err := range map[string]error{"Ready": l.Ready(), "Reopen": l.Reopen(), "Write": l.Write(t.Context(), broker.Entry{}, false)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s = %v, want %v", name, err, os.ErrClosed)
		}
	}
}

// Rotation does not overwrite a file that has the new name.
func TestRotationWritesOverNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, path)
	l.MaxSize = 1
	now := time.Now().UTC()
	const seconds = 60 // the time in which this machine gets there
	for n := range seconds {
		taken := path + "." + now.Add(time.Duration(n)*time.Second).Format("20060102T150405Z") + "-1"
		if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Write(t.Context(), broker.Entry{Kind: broker.KindIntent}, true); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("Write = %v, want that a file is there already", err)
	}
	files, err := filepath.Glob(path + ".*")
	for _, f := range files {
		if got := string(read(t, f)); got != "mine" {
			t.Errorf("%s has %q, want what it had", f, got)
		}
	}
	if err != nil || len(files) != seconds {
		t.Errorf("%d files, %v, want %d", len(files), err, seconds)
	}
}
