package audit

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// full returns an entry with text in every field that can hold one.
func full(text string) (e broker.Entry, names []string) {
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString(text)
		case map[string]string:
			m := map[string]string{}
			for n := range 50 {
				m[fmt.Sprint(n, text)] = text
			}
			f.Set(reflect.ValueOf(m))
		case time.Time:
			f.Set(reflect.ValueOf(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)))
		case int, int64, bool:
			continue
		default:
			panic("Bound does not know fields such as " + name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return e, names
}

// A caller without identity chooses some texts of an entry. None of them may make a
// line too long, prevent it from being written, or count as a failure of the log: that
// would fill the disk, or make the broker refuse everyone.
func TestWhateverAnEntryHoldsIsALine(t *testing.T) {
	for _, letter := range []string{"x", "<", `"`, "\x00", "\u202e", "\U000e0041", "\xffx", "ü"} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := open(t, path)
		e, names := full(strings.Repeat(letter, 100_000))
		if err := l.Write(t.Context(), e, true); err != nil {
			t.Fatalf("%q: Write = %v", letter, err)
		}
		write(t, l, 1)
		if r := holds(t, l, path); r.Lines != 3 || len(r.Notes) != 0 {
			t.Errorf("%q: Verify = %+v, want the head, two lines, and nothing to note", letter, r)
		}
		text := slices.Collect(bytes.Lines(read(t, path)))[1]
		if len(text) > 20<<10 {
			t.Errorf("%q: the line has %d bytes", letter, len(text))
		}
		r, err := parse(text[:len(text)-1])
		if err != nil || !slices.Equal(r.Shortened, names) || !strings.HasSuffix(r.Detail, cutMark) {
			t.Errorf("%q: the line is %+v, %v, want it to say that %q are shortened", letter, r, err, names)
		}
	}
}

// A caller without identity chooses the path: a line about it stays short.
func TestALongPathIsASmallLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	before := len(read(t, path))
	e := broker.Entry{Time: time.Now(), Kind: broker.KindRequest, Operation: "POST /v1/workspaces/" + strings.Repeat("<", 30_000) + "/revoke", Decision: broker.Refused}
	if err := l.Write(t.Context(), e, false); err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, path)) - before; n > 1024 {
		t.Errorf("the line has %d bytes, want at most 1024", n)
	}
	holds(t, l, path)
}

// A text that fits is not changed, and not listed as shortened.
func TestWhatFitsStays(t *testing.T) {
	e := broker.Entry{
		Kind: broker.KindPush, Ref: "refs/heads/" + strings.Repeat("<", maxRef-11), Detail: strings.Repeat("&", maxText), Hash: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		Claims: map[string]string{"ref": strings.Repeat("a", 200)}, Permissions: map[string]string{"contents": "read"},
	}
	if got, shortened := Bound(e); !reflect.DeepEqual(got, e) || shortened != nil {
		t.Errorf("Bound(%+v) = %+v, %q, want it as it is", e, got, shortened)
	}
}

// People may show a line with cat, and a caller may have put a secret or a character
// for text direction into it.
func TestALineHoldsNoSecretAndDrivesNoTerminal(t *testing.T) {
	const secret = "ghs_0123456789abcdefghijABCDEFGHIJ012345"
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path)
	text := "a" + secret + "\u202e\u2066\u200b\x7f\u009b\x1b[31m"
	e := broker.Entry{Kind: broker.KindPush, Ref: text, Detail: text, Operation: text, Subject: text, Target: text, Claims: map[string]string{"sub": text}}
	if err := l.Write(t.Context(), e, false); err != nil {
		t.Fatal(err)
	}
	got := string(read(t, path))
	if strings.Contains(got, secret) {
		t.Errorf("the log has the token: %s", got)
	}
	if i := strings.IndexFunc(got, func(r rune) bool {
		return r != '\n' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x200b && r < 0x2070)
	}); i >= 0 {
		t.Errorf("the log has %q", got[i:])
	}
	if !strings.Contains(got, `\u202e`) {
		t.Errorf("the log lacks the text: %s", got)
	}
	holds(t, l, path)
}

func FuzzBound(f *testing.F) {
	f.Add("", "x", 7)
	f.Add("\u202e", "\xff\x00\"", 900)
	f.Fuzz(func(t *testing.T, a, b string, n int) {
		text := strings.Repeat(a+b, min(max(n, 0), 2000))
		e, _ := full(text)
		bounded, shortened := Bound(e)
		line, _, err := encode(1, noHash, content{Entry: bounded, Note: Note{Shortened: shortened}})
		if err != nil || len(line) > 20<<10 {
			t.Errorf("%q: a line of %d bytes, %v", text, len(line), err)
		}
	})
}
