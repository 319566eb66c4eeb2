package ruleset

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/test/openapi"
)

// policies are lists of "PATTERN" or "PATTERN VERB,VERB".
var policies = [][]string{
	nil,
	{"main"},
	{"main", "release/*", "agent/** create,update,force,delete", "refs/tags/v* create"},
	{"**"},
	{"** create,update,force,delete", "refs/tags/** create,move,delete"},
	{"refs/**"},
	{"refs/** create,update,force,delete,move"},
	{"refs/*/main", "refs/?ags/x move"},
	{"refs/**/main", "refs/**/heads/x"},
	{"refs/h**x", "refs/**/h**x"},
	{"a**b", "x/**y**/z", "**-wip", "v?"},
	{"main force", "topic/* force,delete", "topic/x update"},
	{"refs/notes/*", "refs/for/main create", "refs/heads/refs/heads/x"},
}

func compile(t *testing.T, list []string) *refs.Policy {
	t.Helper()
	var entries []refs.Entry
	for _, text := range list {
		ref, verbs, given := strings.Cut(text, " ")
		e := refs.Entry{Ref: ref}
		if given {
			for v := range strings.SplitSeq(verbs, ",") {
				e.Allow = append(e.Allow, refs.Verb(v))
			}
		}
		entries = append(entries, e)
	}
	p, err := refs.Compile(entries)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExportIsWhatGitHubDescribes(t *testing.T) {
	contract := openapi.Load(t, "testdata/openapi/schemas.json")
	five := int64(5)
	for _, list := range policies {
		sets, _ := Export(compile(t, list), Actor{&five, "RepositoryRole", "always"}, Actor{nil, "DeployKey", "always"})
		names := map[string]bool{}
		for _, set := range sets {
			raw, err := json.Marshal(set)
			if err != nil {
				t.Fatal(err)
			}
			if err := contract.Validate(t, "x-repository-ruleset-request", raw); err != nil {
				t.Errorf("%v: %s: %v", list, raw, err)
			}
			if names[set.Name] {
				t.Errorf("%v: two rulesets are named %q", list, set.Name)
			}
			names[set.Name] = true
		}
		if len(sets) == 0 {
			t.Errorf("%v: nothing was exported", list)
		}
	}
	if err := contract.Validate(t, "x-repository-ruleset-request", []byte(`{"name":"x","enforcement":"on"}`)); err == nil {
		t.Error("the schema takes anything")
	}
}

func TestExportOfAnExample(t *testing.T) {
	sets, _ := Export(compile(t, []string{"main", "agent/** create,update,force,delete", "refs/tags/v* create"}))
	var got []string
	for _, s := range sets {
		got = append(got, fmt.Sprint(s.Name, " but ", s.Conditions.RefName.Exclude))
	}
	want := []string{
		"gatepass branches: creation, update but [refs/heads/main refs/heads/agent/**/*]",
		"gatepass branches: non_fast_forward, deletion but [refs/heads/agent/**/*]",
		"gatepass tags: creation but [refs/tags/v*]",
		"gatepass tags: update, deletion but []",
	}
	if !slices.Equal(got, want) {
		t.Errorf("Export = %q, want %q", got, want)
	}
}

// refuses returns what GitHub would decide by the meaning of the rules in its
// documentation.
func refuses(sets []Ruleset, ref string, verb refs.Verb) bool {
	target, kinds := "branch", map[refs.Verb][]string{
		refs.Create: {"creation"}, refs.Update: {"update"}, refs.Force: {"update", "non_fast_forward"}, refs.Delete: {"deletion"},
	}[verb]
	if strings.HasPrefix(ref, "refs/tags/") {
		target = "tag"
		if verb == refs.Move {
			kinds = []string{"update", "non_fast_forward"}
		}
	}
	for _, s := range sets {
		excluded := slices.ContainsFunc(s.Conditions.RefName.Exclude, func(p string) bool { return fnmatch(p, ref) })
		if s.Target != target || excluded {
			continue
		}
		if slices.ContainsFunc(s.Rules, func(r Rule) bool { return slices.Contains(kinds, r.Type) }) {
			return true
		}
	}
	return false
}

// agree compares the export with the policy itself. If a note says that the server is
// stricter, it may be stricter, but never less strict.
func agree(t *testing.T, p *refs.Policy, ref string) {
	t.Helper()
	sets, notes := Export(p)
	stricter := strings.Contains(strings.Join(notes, "\n"), "a ruleset cannot have ** as only a part of the first segment; the server refuses refs that the guard allows")
	verbs := []refs.Verb{refs.Create, refs.Update, refs.Force, refs.Delete}
	if strings.HasPrefix(ref, "refs/tags/") {
		verbs = []refs.Verb{refs.Create, refs.Move, refs.Delete}
	}
	for _, verb := range verbs {
		_, denied := p.Check(ref, verb)
		if verb == refs.Force && denied == nil {
			_, denied = p.Check(ref, refs.Update)
		}
		if got, want := refuses(sets, ref, verb), denied != nil; got != want && (!got || !stricter) {
			t.Errorf("%v: %s of %s: refused by GitHub is %v, by the guard %v\n%+v", p.Rules(), verb, ref, got, want, sets)
		}
	}
}

var names = []string{
	"main", "x", "dev", "release/1", "release/1/2", "agent", "agent/a", "agent/a/b/c", "ab", "axb", "a/b", "a/x/y/b", "a/xb/c",
	"x/y/z", "x/ay/z", "x/a/y/z", "x/a/yb/z", "x/a/yb/c/z", "fix-wip", "a/fix-wip", "v1", "v", "v12", "topic/x", "topic/y", "topic/x/y",
	"heads/x", "heads/main", "tags/main", "refs/heads/x", "é", "vé", "hx", "heads/ax",
}

func TestTheServerAgreesWithTheGuard(t *testing.T) {
	for _, list := range policies {
		p := compile(t, list)
		for _, name := range names {
			agree(t, p, "refs/heads/"+name)
			agree(t, p, "refs/tags/"+name)
		}
	}
}

func FuzzTheServerAgreesWithTheGuard(f *testing.F) {
	for _, list := range policies {
		for i, pattern := range list {
			ref, _, _ := strings.Cut(pattern, " ")
			f.Add(ref, "main", names[i], byte(i), byte(3))
		}
	}
	f.Fuzz(func(t *testing.T, one, two, name string, a, b byte) {
		some := func(bits byte) (allow []refs.Verb) {
			for i, v := range []refs.Verb{refs.Create, refs.Update, refs.Force, refs.Delete, refs.Move} {
				if bits&(1<<i) != 0 {
					allow = append(allow, v)
				}
			}
			return allow
		}
		p, err := refs.Compile([]refs.Entry{{Ref: one, Allow: some(a)}, {Ref: two, Allow: some(b)}})
		if err != nil || !utf8.ValidString(one+two+name) || len(one+two+name) > 60 {
			return
		}
		for _, ref := range []string{"refs/heads/" + name, "refs/tags/" + name} {
			if refs.CheckRef(ref) == nil {
				agree(t, p, ref)
			}
		}
	})
}

func TestNotes(t *testing.T) {
	for _, c := range []struct{ pattern, want string }{
		{"refs/notes/*", "rule refs/notes/*: it names neither branches nor tags"},
		{"refs/**", "rule refs/**: only its branches and tags"},
		{"refs/h**x", "rule refs/h**x: a ruleset cannot have **"},
		{"refs/**/h**x", "rule refs/**/h**x: a ruleset cannot have **"},
		{"wip force,delete", "rule wip: GitHub cannot allow force without update"},
	} {
		_, notes := Export(compile(t, []string{c.pattern}))
		if len(notes) != 1+len(general) || !strings.HasPrefix(notes[0], c.want) {
			t.Errorf("Export(%s) notes %q, want %q", c.pattern, notes, c.want)
		}
	}
	if _, notes := Export(compile(t, []string{"main", "refs/tags/v* force"})); len(notes) != len(general) {
		t.Errorf("Export notes %q, want only what always holds", notes)
	}
}

func TestParseActor(t *testing.T) {
	for text, want := range map[string]string{
		"Team:42":           `{"actor_id":42,"actor_type":"Team","bypass_mode":"always"}`,
		"RepositoryRole:5":  `{"actor_id":5,"actor_type":"RepositoryRole","bypass_mode":"always"}`,
		"OrganizationAdmin": `{"actor_id":null,"actor_type":"OrganizationAdmin","bypass_mode":"always"}`,
		"DeployKey":         `{"actor_id":null,"actor_type":"DeployKey","bypass_mode":"always"}`,
		"":                  "", "Team": "", "Team:": "", "Team:-1": "", "Team:x": "", "team:1": "", "DeployKey:1": "",
	} {
		actor, err := ParseActor(text)
		raw, _ := json.Marshal(actor)
		if (err != nil) != (want == "") || err == nil && string(raw) != want {
			t.Errorf("ParseActor(%q) = %s, %v, want %s", text, raw, err, want)
		}
	}
}
