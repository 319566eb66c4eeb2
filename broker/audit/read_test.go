package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/blocklist"
)

// verified verifies a log in memory.
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

// If lines are missing at the end, the chain holds, but its head differs.
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
		{"a line that was changed", strings.Replace(string(data), "sb-1", "sb-7", 1), "line 3: its hash is wrong: the line was changed"},
		{"a line that was cut off", string(data[:len(data)-1]), "line 4: it is incomplete: the broker stopped while it wrote the line, and repairs it at its next start"},
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
		// A parsed line must be exactly the line that its parts make.
		if want := `"prev":"` + r.Prev + `"`; !strings.Contains(string(data), want) || !strings.HasSuffix(string(data), r.Hash+`"}`) {
			t.Errorf("parse(%s) = %+v, %s", data, r, base64.StdEncoding.EncodeToString(data))
		}
	})
}

func TestARepositoryIsFoundByItsNamesAndItsID(t *testing.T) {
	before := Record{Entry: broker.Entry{Repository: "acme/widgets", RepositoryID: 7}}
	renamed := Record{Entry: broker.Entry{Repository: "acme/gadgets", RepositoryID: 7}}
	other := Record{Entry: broker.Entry{Repository: "acme/widgets", RepositoryID: 8}}
	none := Record{Entry: broker.Entry{Kind: broker.KindConfig}}
	for _, c := range []struct {
		repository string
		record     Record
		want       bool
	}{
		{"", none, true},
		{"acme/widgets", none, false},
		{"0", none, false},
		{"Acme/Widgets", before, true},
		{"acme/widgets", renamed, false},
		{"acme/widgets", other, true},
		{"7", before, true},
		{"7", renamed, true},
		{"7", other, false},
		{"07", before, false},
	} {
		if got := (Filter{Repository: c.repository}).Match(c.record); got != c.want {
			t.Errorf("%q matches %s#%d = %v, want %v", c.repository, c.record.Repository, c.record.RepositoryID, got, c.want)
		}
	}
}

func TestFilter(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := Record{Entry: broker.Entry{Time: at, Workspace: "sb-1", Decision: broker.Granted, Reason: "r", Kind: broker.KindIntent, Hash: "h"}, Hash: "of the line"}
	for _, c := range []struct {
		name   string
		filter Filter
		want   bool
	}{
		{"everything", Filter{}, true},
		{"all of it", Filter{Workspace: "sb-1", Decision: broker.Granted, Reason: "r", Kind: broker.KindIntent, Hash: "h"}, true},
		{"another workspace", Filter{Workspace: "sb-10"}, false},
		{"another decision", Filter{Decision: broker.Refused}, false},
		{"another reason", Filter{Reason: "x"}, false},
		{"another kind", Filter{Kind: broker.KindExchange}, false},
		{"the hash of the line", Filter{Hash: "of the line"}, false},
		{"since then", Filter{Since: at}, true},
		{"since later", Filter{Since: at.Add(1)}, false},
		{"until then", Filter{Until: at}, false},
		{"until later", Filter{Until: at.Add(1)}, true},
		{"one of two", Filter{Workspace: "sb-1", Until: at}, false},
	} {
		if got := c.filter.Match(r); got != c.want {
			t.Errorf("%s: Match = %v, want %v", c.name, got, c.want)
		}
	}
}

// The log has earlier words for two kinds and a reason; a search accepts both.
func TestBlocksAreFoundByBothWords(t *testing.T) {
	blocked := Record{Entry: broker.Entry{Kind: broker.KindBlocked, Reason: broker.ReasonBlocked, Target: blocklist.Target{Workspace: "sb-1"}.String()}}
	unblocked := Record{Entry: broker.Entry{Kind: broker.KindUnblocked}}
	for _, c := range []struct {
		name   string
		filter Filter
		of     Record
		want   bool
	}{
		{"a block", Filter{Kind: "blocked"}, blocked, true},
		{"a block by its former word", Filter{Kind: "barred"}, blocked, true},
		{"a block for an unblock", Filter{Kind: "unblocked"}, blocked, false},
		{"an unblock", Filter{Kind: "unblocked"}, unblocked, true},
		{"an unblock by its former word", Filter{Kind: "admitted"}, unblocked, true},
		{"a refusal", Filter{Reason: "blocked"}, blocked, true},
		{"a refusal by its former word", Filter{Reason: "barred"}, blocked, true},
		{"the block of a workspace", Filter{Workspace: "sb-1"}, blocked, true},
		{"the block of another", Filter{Workspace: "sb-2"}, blocked, false},
		{"a refusal of a workspace that is called so", Filter{Workspace: "blocked"}, blocked, false},
	} {
		if got := c.filter.Match(c.of); got != c.want {
			t.Errorf("%s: Match = %v, want %v", c.name, got, c.want)
		}
	}
}

// People see today's words; every other word stays.
func TestWord(t *testing.T) {
	for spelled, want := range map[string]string{broker.KindBlocked: "blocked", broker.KindUnblocked: "unblocked", broker.ReasonRule: broker.ReasonRule, "": ""} {
		if got := Word(spelled); got != want {
			t.Errorf("Word(%q) = %q, want %q", spelled, got, want)
		}
	}
}

func TestReadEndsWhereALineIsNone(t *testing.T) {
	data := sample(t, 3)
	count := func(data []byte) (n int, last error) {
		for line, err := range Read(bytes.NewReader(data)) {
			if last = err; err == nil && line.Seq != uint64(n+1) {
				t.Errorf("line %d has the number %d", n+1, line.Seq)
			}
			n++
		}
		return n, last
	}
	if n, err := count(data); n != 4 || err != nil {
		t.Errorf("Read yields %d lines and %v, want 4", n, err)
	}
	if n, err := count(bytes.Replace(data, []byte("sb-1"), []byte("sb-7"), 1)); n != 3 || !errors.Is(err, errHash) {
		t.Errorf("Read yields %d lines and %v, want two and %v", n, err, errHash)
	}
	for range Read(bytes.NewReader(data)) {
		break // and nothing after it
	}
}
