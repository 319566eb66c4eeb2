package audit

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// verified reads a log from memory.
func verified(data []byte) (Report, error) {
	var v verifier
	err := v.read("log", bytes.NewReader(data))
	return v.Report, err
}

func sample(t *testing.T, n int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, open(t, path), n)
	return read(t, path)
}

// Any bit of the file, in any line.
func TestAFlippedBitIsFound(t *testing.T) {
	data := sample(t, 6)
	if _, err := verified(data); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			r, err := verified(data)
			if err == nil {
				t.Fatalf("bit %d of byte %d, %q, was flipped, and Verify = %+v", bit, i, data[i], r)
			}
			data[i] ^= 1 << bit
		}
	}
}

func TestLinesThatWereDroppedMovedOrRepeated(t *testing.T) {
	data := sample(t, 12)
	var all [][]byte
	for line := range bytes.Lines(data) {
		all = append(all, line)
	}
	broken := func(name string, lines [][]byte, want ...int) {
		t.Helper()
		_, err := verified(bytes.Join(lines, nil))
		b, ok := err.(*Broken)
		if !ok || !slices.Contains(want, b.Line) {
			t.Errorf("%s: Verify = %v, want it in line %d", name, err, want)
		}
	}
	for i := range all {
		if i < len(all)-1 {
			broken("dropped", slices.Delete(slices.Clone(all), i, i+1), i+1)
		}
		for j := range all {
			if want := []int{j + 1}; j <= i {
				broken("repeated earlier", slices.Insert(slices.Clone(all), j, all[i]), append(want, j+2)...)
			} else {
				broken("repeated later", slices.Insert(slices.Clone(all), j, all[i]), want...)
			}
			if i != j {
				swapped := slices.Clone(all)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				broken("swapped", swapped, min(i, j)+1)
			}
		}
	}
	for range 200 {
		order := rand.Perm(len(all))
		if slices.IsSorted(order) {
			continue
		}
		shuffled := make([][]byte, len(all))
		for to, from := range order {
			shuffled[to] = all[from]
		}
		if _, err := verified(bytes.Join(shuffled, nil)); err == nil {
			t.Errorf("the order %v holds", order)
		}
	}
}

// Lines missing at the end leave a chain that holds; its head is another.
func TestWhatIsMissingAtTheEndChangesTheHead(t *testing.T) {
	data := sample(t, 3)
	whole, err := verified(data)
	if err != nil {
		t.Fatal(err)
	}
	cut := data[:bytes.LastIndexByte(data[:len(data)-1], '\n')+1]
	if r, err := verified(cut); err != nil || r.Head == whole.Head || r.Lines != whole.Lines-1 {
		t.Errorf("Verify = %+v, %v, want another head than %s", r, err, whole.Head)
	}
}

func TestVerifySaysWhere(t *testing.T) {
	dir := t.TempDir()
	data := sample(t, 3)
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "line 1: the file is empty"},
		{"no lines of ours", "{}\n", "line 1: it is not a line of an audit log"},
		{"a line that was changed", strings.Replace(string(data), "sb-1", "sb-7", 1), "line 3: its hash does not hold"},
		{"a line that was cut off", string(data[:len(data)-1]), "line 4: it is cut off"},
		{"a second log behind it", string(data) + string(data), "line 5: it is the head of a file"},
		{"a line that is too long", strings.Repeat("x", 2*maxLine), "line 1: it is not a line"},
	} {
		path := filepath.Join(dir, "log")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(path); err == nil || !strings.Contains(err.Error(), path+": "+c.want) {
			t.Errorf("%s: Verify = %v, want %q", c.name, err, c.want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(filepath.Join(dir, "a"), filepath.Join(dir, "a")); err == nil || !strings.Contains(err.Error(), "another chain begins") {
		t.Errorf("Verify of two chains = %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"seq":1,"prev":"` + noHash + `","kind":"head","hash":"` + noHash + `"}`))
	text, _, _ := encode(7, noHash, content{Entry: entry(KindHead, "x")})
	f.Add(text[:len(text)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err != nil {
			return
		}
		// What is a line is the very line that its parts make.
		if want := `"prev":"` + r.Prev + `"`; !strings.Contains(string(data), want) || !strings.HasSuffix(string(data), r.Hash+`"}`) {
			t.Errorf("parse(%s) = %+v, %s", data, r, base64.StdEncoding.EncodeToString(data))
		}
	})
}
