package mint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestParsePattern(t *testing.T) {
	for _, good := range []string{"a/b", "a/*", "a/b-*", "*", "A-1/x.y_z", "a_corp/b", "a/.github", "a/.*", "a/x.*", "a/b#1", "a/b#9007199254740993"} {
		if p, err := ParsePattern(good); err != nil || p.String() != good {
			t.Errorf("ParsePattern(%q) = %v, %v, want it", good, p, err)
		}
	}
	for _, bad := range []string{"", "a", "/b", "a/", "*/b", "a*/b", "a/*b", "a/b*c", "a/**", "**", "a/b/c", "a/..", "a/b.git", "a/b.wiki", "https://github.com/a/b", "a/b?", "a/b ", "a/b\n", "-a/b", "a/b%2f", "a/ä", "a/b#", "a/b#0", "a/b#-1", "a/b#+1", "a/b#01", "a/b# 1", "a/b#1x", "a/b#1#1", "a/*#1", "*#1", "a/b#99999999999999999999"} {
		if p, err := ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%q) = %v, want an error", bad, p)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, owner, name string
		want                 bool
	}{
		{"acme/api", "acme", "api", true},
		{"acme/api", "Acme", "API", true},
		{"acme/api", "acme", "api-secret", false}, // a pattern without a star is not a prefix
		{"acme/api", "acme", "ap", false},
		{"acme/api", "octo", "api", false},
		{"acme/api-*", "acme", "API-secret", true},
		{"acme/api-*", "acme", "api", false},
		{"acme/*", "acme", "anything", true},
		{"acme/*", "acmes", "anything", false},
		{"*", "anybody", "anything", true},
	} {
		if got := parse(t, c.pattern)[0].Match(c.owner, c.name); got != c.want {
			t.Errorf("%s matches %s/%s = %v, want %v", c.pattern, c.owner, c.name, got, c.want)
		}
	}
	if (Pattern{}).Match("", "") {
		t.Error("the zero Pattern matches, want nothing")
	}
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"acme/api", "ACME/Api", true},
		{"acme/api", "acme/api#7", true},
		{"acme/api", "octo/api", false},
		{"acme/api", "acme/apis", false},
		{"acme/api", "acme/api*", false},
		{"*", "*", true},
		{"*", "acme/*", false},
	} {
		if got := parse(t, c.p)[0].Equal(parse(t, c.q)[0]); got != c.want {
			t.Errorf("%s equals %s = %v, want %v", c.p, c.q, got, c.want)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, seed := range []string{"a/b", "a/*", "*", "a/b-*", "a/..", "a//b", "a/b.git", "\xff/*", "a/b#7", "a/b#007"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePattern(text)
		if err != nil {
			return
		}
		if p.Everything() {
			if text != "*" {
				t.Errorf("ParsePattern(%q) means everything", text)
			}
			return
		}
		if p.String() != text || p.ID() < 0 || strings.Contains(text, "#") != (p.ID() > 0) {
			t.Errorf("ParsePattern(%q) = %s with the id %d", text, p, p.ID())
		}
		owner, rest, _ := strings.Cut(p.Names(), "/")
		if p.Owner() != strings.ToLower(owner) || !p.star && !p.Match(owner, rest) || p.Match(owner+"x", rest) || strings.Contains(rest, "/") {
			t.Errorf("ParsePattern(%q) = %+v", text, p)
		}
	})
}

// idOf returns GitHub's ID of a repository.
func (w *world) idOf(fullName string) int64 {
	w.t.Helper()
	m, err := w.app.Mint(w.t.Context(), Grant{Installation: w.acme.ID, Repositories: RepositoryNames(strings.TrimPrefix(fullName, "Acme/")), Permissions: contents("read")})
	if err != nil || len(m.Token.RepositoryIDs) != 1 {
		w.t.Fatalf("Mint(%s) = %v, %v, want a token that says its repository's id", fullName, m.Token.RepositoryIDs, err)
	}
	if err := w.app.Revoke(w.t.Context(), m.Token); err != nil {
		w.t.Fatal(err)
	}
	return m.Token.RepositoryIDs[0]
}

func TestAnIDOpensThatRepositoryAlone(t *testing.T) {
	w := newWorld(t)
	widgets := fmt.Sprint("Acme/widgets#", w.idOf("Acme/widgets"))
	shared := fmt.Sprint("Acme/shared#", w.idOf("Acme/shared"))
	for _, c := range []struct {
		name     string
		patterns []string
		want     string
	}{
		{"alone", []string{widgets}, "Acme/widgets"},
		{"in another case", []string{strings.ToUpper(widgets)}, "Acme/widgets"},
		{"two of them", []string{widgets, shared}, "Acme/shared Acme/widgets"},
		{"beside a name", []string{widgets, "Acme/shared"}, "Acme/shared Acme/widgets"},
		{"beside a wildcard that has it", []string{"Acme/w*", widgets}, "Acme/widgets"},
		{"beside one that has others", []string{"Acme/api-*", widgets}, "Acme/api-one Acme/api-two Acme/widgets"},
	} {
		grants, err := w.app.Resolve(t.Context(), parse(t, c.patterns...), contents("read"), w.installed())
		if err != nil {
			t.Errorf("%s: Resolve(%q) = %v", c.name, c.patterns, err)
			continue
		}
		m, err := w.app.Mint(t.Context(), grants[0])
		slices.Sort(m.Token.Repositories)
		if got := strings.Join(m.Token.Repositories, " "); err != nil || got != c.want {
			t.Errorf("%s: %q opens %q, %v, want %q", c.name, c.patterns, got, err, c.want)
		}
	}
}

// If another repository has got a name, a token opens neither of the two.
func TestANameThatWasTakenOpensNothing(t *testing.T) {
	w := newWorld(t)
	id := w.idOf("Acme/widgets")
	pinned := fmt.Sprint("Acme/widgets#", id)
	if err := w.RenameRepository("Acme", "widgets", "gadgets"); err != nil {
		t.Fatal(err)
	}
	for _, beside := range [][]string{nil, {"Acme/shared"}, {"Acme/*"}} {
		w.refuse(Renamed, "Acme/gadgets now; write its new name in the profile", append(beside, pinned)...)
	}
	w.add("Acme/widgets")
	w.refuse(Renamed, "find widgets#"+fmt.Sprint(id)+": its name is Acme/gadgets now", pinned)
	for _, beside := range [][]string{{"Acme/shared"}, {"Acme/*"}} {
		w.refuse(-1, "find ", append(beside, pinned)...)
	}
}

// A repository that is gone is distinguished from one that the installation does not
// reach.
func TestAnIDThatIsNotThere(t *testing.T) { synctest.Test(t, inAnIDThatIsNotThere) }

func inAnIDThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	w.refuse(Replaced, "find Acme/widgets#999999: the repository of that name has another ID", "Acme/widgets#999999")
	w.refuse(Replaced, "find Acme/widgets#999999: the repository of that name has another ID", "Acme/widgets#999999", "Acme/api-*")
	w.refuse(Replaced, "find Acme/widgets#999999: the repository of that name has another ID", "Acme/widgets#999999", "Acme/*")
	w.refuse(NotGranted, "find Acme/nothing: it does not exist, or the installation cannot reach it", "Acme/nothing#999999")
	w.refuse(NotGranted, "find Acme/nothing: it does not exist, or the installation cannot reach it", "Acme/nothing#999999", "Acme/widgets")
}

func TestPinsAreChecked(t *testing.T) {
	for name, pins := range map[string][]Pin{
		"no id":              {{Name: "widgets"}},
		"an id twice":        {{ID: 1, Name: "a"}, {ID: 1, Name: "b"}},
		"a name twice":       {{ID: 1, Name: "a"}, {ID: 2, Name: "A"}},
		"a name that climbs": {{ID: 1, Name: ".."}},
		"none":               nil,
	} {
		if err := (Grant{Installation: 1, Repositories: PinnedRepositories(pins...), Permissions: contents("read")}).Validate(); err == nil {
			t.Errorf("%s: Validate = nil, want an error", name)
		}
	}
}

func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		id       int64
		ok       bool
	}{
		{[]string{"acme/widgets"}, 0, true},
		{[]string{"acme/widgets#7"}, 7, true},
		{[]string{"acme/*", "acme/widgets#7"}, 7, true},
		{[]string{"*", "Acme/Widgets#7"}, 7, true},
		{[]string{"acme/other#7"}, 0, false},
		{[]string{"octo/widgets#7"}, 0, false},
		{nil, 0, false},
	} {
		if id, ok := Allowed(parse(t, c.patterns...), "acme", "widgets"); id != c.id || ok != c.ok {
			t.Errorf("Allowed(%q) = %d, %v, want %d, %v", c.patterns, id, ok, c.id, c.ok)
		}
	}
}
