package refs

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var (
	oidA    = strings.Repeat("a", 40)
	oidB    = strings.Repeat("b", 40)
	zero    = strings.Repeat("0", 40)
	oidA256 = strings.Repeat("a", 64)
	zero256 = strings.Repeat("0", 64)
)

func line(fields ...string) string { return strings.Join(fields, " ") + "\n" }

func TestParseUpdatesSplitsFromTheRight(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     RefUpdate
	}{
		{"a branch", line("refs/heads/main", oidA, "refs/heads/main", oidB), RefUpdate{"refs/heads/main", oidA, "refs/heads/main", oidB}},
		{"a source with spaces", line("HEAD@{0 days ago}", oidA, "refs/heads/x", zero), RefUpdate{"HEAD@{0 days ago}", oidA, "refs/heads/x", zero}},
		{
			"a source that holds a whole line", line(":/refs/heads/main "+oidA+" refs/heads/ok "+oidB, oidA, "refs/heads/x", zero),
			RefUpdate{":/refs/heads/main " + oidA + " refs/heads/ok " + oidB, oidA, "refs/heads/x", zero},
		},
		{"a source that is a space", line(" ", oidA, "refs/heads/x", zero), RefUpdate{" ", oidA, "refs/heads/x", zero}},
		{"a deletion", line("(delete)", zero, "refs/heads/x", oidB), RefUpdate{"(delete)", zero, "refs/heads/x", oidB}},
		{"SHA-256", line("HEAD", oidA256, "refs/heads/x", zero256), RefUpdate{"HEAD", oidA256, "refs/heads/x", zero256}},
		{"Gerrit", line("HEAD", oidA, "refs/for/main%r=bob", zero), RefUpdate{"HEAD", oidA, "refs/for/main%r=bob", zero}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseUpdates([]byte(c.in))
			if err != nil || len(got) != 1 || got[0] != c.want {
				t.Errorf("ParseUpdates(%q) = %+v, %v, want %+v", c.in, got, err, c.want)
			}
		})
	}
}

func TestParseUpdatesRefuses(t *testing.T) {
	good := line("HEAD", oidA, "refs/heads/ok", zero)
	for _, c := range []struct{ name, in string }{
		{"an empty line", "\n"},
		{"three fields", line(oidA, "refs/heads/x", zero)},
		{"an empty source", line("", oidA, "refs/heads/x", zero)},
		{"a bad line before a good one", "garbage\n" + good},
		{"a bad line after a good one", good + "garbage\n"},
		{"a source with a line break", line("HEAD^{/one\ntwo}", oidA, "refs/heads/x", zero)},
		{"a last line without end", strings.TrimSuffix(good, "\n")},
		{"a carriage return", strings.TrimSuffix(good, "\n") + "\r\n"},
		{"a space at the end", strings.TrimSuffix(good, "\n") + " \n"},
		{"a NUL", good + "\x00"},
		{"a tab for a space", strings.ReplaceAll(good, " ", "\t")},
		{"a short id", line("HEAD", oidA[:39], "refs/heads/x", zero)},
		{"a short remote id", line("HEAD", oidA, "refs/heads/x", zero[:39])},
		{"not a remote id", line("HEAD", oidA, "refs/heads/x", strings.Repeat("g", 40))},
		{"an id of 50 digits", line("HEAD", oidA256[:50], "refs/heads/x", zero256[:50])},
		{"an id in capitals", line("HEAD", strings.ToUpper(oidA), "refs/heads/x", zero)},
		{"two lengths in a line", line("HEAD", oidA256, "refs/heads/x", zero)},
		{"two lengths in two lines", good + line("HEAD", oidA256, "refs/heads/y", zero256)},
		{"a short remote ref", line("HEAD", oidA, "main", zero)},
		{"a remote HEAD", line("HEAD", oidA, "HEAD", zero)},
		{"a remote ref with a control character", line("HEAD", oidA, "refs/heads/\x1b[31m", zero)},
		{"a long remote ref", line("HEAD", oidA, "refs/heads/"+strings.Repeat("a", 1024), zero)},
		{"a long line", line(strings.Repeat("a", maxLine), oidA, "refs/heads/x", zero)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := ParseUpdates([]byte(c.in)); err == nil {
				t.Errorf("ParseUpdates(%.80q) = %+v, want an error", c.in, got)
			}
		})
	}
}

func TestParseUpdatesReadsEveryLine(t *testing.T) {
	in := line("HEAD", oidA, "refs/heads/x", zero) + line("(delete)", zero, "refs/tags/v1", oidB)
	want := []RefUpdate{{"HEAD", oidA, "refs/heads/x", zero}, {"(delete)", zero, "refs/tags/v1", oidB}}
	if got, err := ParseUpdates([]byte(in)); err != nil || !slices.Equal(got, want) {
		t.Errorf("ParseUpdates(%q) = %+v, %v, want %+v", in, got, err, want)
	}
	raw, got, err := ReadUpdates(strings.NewReader(in))
	if err != nil || string(raw) != in || !slices.Equal(got, want) {
		t.Errorf("ReadUpdates(%q) = %q, %+v, %v, want all of it", in, raw, got, err)
	}
}

// What was read before an error may be complete lines, but not all of them.
func TestReadUpdatesRefusesHalfOfAPush(t *testing.T) {
	good := line("HEAD", oidA, "refs/heads/x", zero)
	broken := io.MultiReader(strings.NewReader(good), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, got, err := ReadUpdates(broken); err == nil || len(got) > 0 {
		t.Errorf("ReadUpdates = %+v, %v, want an error", got, err)
	}
	if _, got, err := ReadUpdates(strings.NewReader(good + "garbage\n")); err == nil || len(got) > 0 {
		t.Errorf("ReadUpdates = %+v, %v, want an error", got, err)
	}
}

func TestReadUpdatesOfNothingIsNothing(t *testing.T) {
	if raw, got, err := ReadUpdates(strings.NewReader("")); err != nil || len(raw) != 0 || len(got) != 0 {
		t.Errorf(`ReadUpdates("") = %q, %v, %v, want nothing`, raw, got, err)
	}
}

func TestWhatAnUpdateDoes(t *testing.T) {
	for _, c := range []struct {
		u                RefUpdate
		creates, deletes bool
	}{
		{RefUpdate{LocalOID: oidA, RemoteOID: zero}, true, false},
		{RefUpdate{LocalOID: oidA256, RemoteOID: zero256}, true, false},
		{RefUpdate{LocalOID: oidA, RemoteOID: oidB}, false, false},
		{RefUpdate{LocalRef: "(delete)", LocalOID: zero, RemoteOID: oidB}, false, true},
		{RefUpdate{LocalRef: zero256, LocalOID: zero256, RemoteOID: oidA256}, false, true},
		{RefUpdate{LocalRef: "(delete)", LocalOID: oidA, RemoteOID: oidB}, false, false},
		{RefUpdate{LocalOID: zero, RemoteOID: zero}, false, true},
	} {
		if c.u.Creates() != c.creates || c.u.Deletes() != c.deletes {
			t.Errorf("%+v: Creates, Deletes = %v, %v, want %v, %v", c.u, c.u.Creates(), c.u.Deletes(), c.creates, c.deletes)
		}
	}
}

// For every line that parses, the remote refs and IDs are those at the ends of the
// lines, and the updates are written as the same bytes.
func FuzzParseUpdates(f *testing.F) {
	f.Add(line("HEAD", oidA, "refs/heads/x", zero))
	f.Add(line("HEAD@{1 day ago}", oidA, "refs/heads/x", zero) + line("(delete)", zero, "refs/tags/v1", oidB))
	f.Add(line("a\nb", oidA, "refs/heads/x", zero))
	f.Add(line("x", oidA256, "refs/for/main%r=bob", zero256))
	f.Add("\n \n")
	f.Fuzz(func(t *testing.T, in string) {
		updates, err := ParseUpdates([]byte(in))
		if err != nil {
			return
		}
		var again strings.Builder
		for _, u := range updates {
			again.WriteString(line(u.LocalRef, u.LocalOID, u.RemoteRef, u.RemoteOID))
			if CheckRef(u.RemoteRef) != nil || !isOID(u.LocalOID) || len(u.LocalOID) != len(u.RemoteOID) {
				t.Errorf("ParseUpdates(%q) lets through %+v", in, u)
			}
		}
		if again.String() != in {
			t.Errorf("ParseUpdates(%q) reads %q", in, again.String())
		}
	})
}

func TestCheckRef(t *testing.T) {
	for _, ref := range []string{"refs/heads/main", "refs/heads/a.b", "refs/heads/ü", "refs/heads/-x", "refs/stash", "refs/heads/@", "refs/heads/a.lockx", "refs/heads/refs/heads/x", "refs/heads/a{b}!,$(x)"} {
		if err := CheckRef(ref); err != nil {
			t.Errorf("CheckRef(%q) = %v, want nil", ref, err)
		}
	}
	for _, ref := range []string{
		"", "refs", "refs/", "main", "HEAD", "refs/heads/", "refs//x", "/refs/heads/x", "refs/heads/.x", "refs/heads/x.lock", "refs/heads/x.lock/y",
		"refs/heads/a..b", "refs/heads/x.", "refs/heads/a@{b", "refs/heads/a b", "refs/heads/a\x7f", "refs/heads/a~1", "refs/heads/a^", "refs/heads/a:b", "refs/heads/a?", "refs/heads/*", "refs/heads/[a", `refs/heads/a\b`, "refs/heads/a\tb", "Refs/heads/x",
	} {
		if CheckRef(ref) == nil {
			t.Errorf("CheckRef(%q) = nil, want an error", ref)
		}
	}
}
