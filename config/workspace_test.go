package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/hooks/refs"
)

const full = `
workspace: sb-1a2b3c
hosts: [GitHub.com, "git.example:8443"]
source: ssm:///sandbox/{workspace}/github-token?region=us-east-1
repos: ["acme/widgets", "Acme/*"]
refs:
  - main
  - {ref: "agent/**", allow: [create, update, force, delete]}
cache: none
strict: true
`

func TestParseReadsEveryKey(t *testing.T) {
	w, err := Parse([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"github.com", "git.example:8443"}; !reflect.DeepEqual(w.Hosts, want) {
		t.Errorf("Hosts = %q, want %q", w.Hosts, want)
	}
	wantRefs := []refs.Entry{{Ref: "main"}, {Ref: "agent/**", Allow: []refs.Verb{"create", "update", "force", "delete"}}}
	if !reflect.DeepEqual(w.Refs, wantRefs) {
		t.Errorf("Refs = %v, want %v", w.Refs, wantRefs)
	}
	if w.ID != "sb-1a2b3c" || w.Cache != CacheNone || w.Source.Path != "/sandbox/{workspace}/github-token" {
		t.Errorf("Parse = %+v, want id sb-1a2b3c, cache none and the source's path as written", w)
	}
	if !w.Strict {
		t.Error("Strict = false, want true")
	}
	if !w.Repositories.Match("ACME", "anything") || w.Repositories.Match("acme2", "widgets") {
		t.Errorf("Repositories = %v, want every one of acme and no other", w.Repositories)
	}
}

func TestParseDefaults(t *testing.T) {
	w, err := Parse([]byte("source: file:///x\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Hosts) != 1 || w.Hosts[0] != "github.com" || w.Cache != CacheMemory || len(w.Refs) != 0 || w.Strict {
		t.Errorf("Parse = %+v, want github.com, memory, no refs, not strict", w)
	}
	if !w.Repositories.Match("any", "thing") {
		t.Error("an absent repos list refuses, want any repository")
	}
}

func TestParseRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an unknown key", "source: file:///x\nrefz: [main]\n", `line 2 column 1: unknown key "refz": did you mean "refs"?`},
		{"a repeated key", "cache: none\ncache: memory\n", "is given twice, first on line 1"},
		{"two documents", "cache: none\n---\ncache: none\n", "more than one"},
		{"a wildcard host", "hosts: ['*.github.com']\n", "exact host"},
		{"a host with a scheme", "hosts: ['https://github.com']\n", "exact host"},
		{"no hosts at all", "hosts: []\n", "hosts must not be empty; leave it out for"},
		{"repos left empty", "repos:\n", "repos must be a list"},
		{"repos as one text", "repos: acme/x\n", "repos must be a list"},
		{"a bad repository", "repos: ['*/x']\n", `"*/x"`},
		{"a repository with dots", "repos: ['acme/../x']\n", "want owner/repo"},
		{"an unknown verb", "refs: [{ref: main, allow: [push]}]\n", `line 1 column 28: unknown verb "push"`},
		{"no verbs", "refs: [{ref: main, allow: []}]\n", "one or more verbs"},
		{"an unknown ref key", "refs: [{reff: main}]\n", `unknown key "reff"`},
		{"this entry has no ref", "refs: [{allow: [create]}]\n", "has no ref"},
		{"a null ref", "refs: [~]\n", "not empty"},
		{"a source that is no URL", "source: token\n", "want a URL"},
		{"an unknown cache", "cache: disk\n", "memory, keyring or none"},
		{"a strictness of another kind", "strict: very\n", "want true or false"},
		{"an id that climbs", "workspace: ../x\n", "an ID must"},
		{"not YAML", "refs: [", "line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Parse(%q) = %v, want an error with %q", c.text, err, c.want)
			}
		})
	}
}

func TestSourceErrorDoesNotRepeatAPassword(t *testing.T) {
	_, err := Parse([]byte("source: https://user:hunter2@vault.example\n"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Parse = %v, want an error without the password", err)
	}
}

// A file that exists but cannot be read must not be created: the user needs permission
// to read it.
func TestLoadSaysThatAFileIsNotReadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	path := filepath.Join(t.TempDir(), "workspace.yaml")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	if err == nil || !strings.HasSuffix(err.Error(), path+": permission denied; make it readable for this user, or name another with GATEPASS_CONFIG") {
		t.Errorf("Load = %v, want what to do", err)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "workspace.yaml")
	_, err := Load(path)
	if err == nil || !strings.Contains(err.Error(), path+": no such file or directory; create it") {
		t.Errorf("Load(missing) = %v, want the file's name and what to do", err)
	}
	if err := os.WriteFile(path, []byte("nope: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(path)
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), path) {
		t.Errorf("Load(bad) = %v, want one line that names the file", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{full, "", "repos: []", "refs: [{ref: a, allow: [create]}]", "a: &a [*a]", "hosts: [\"[::1]:8443\"]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := Parse([]byte(s))
		if err == nil && (len(w.Hosts) == 0 || w.Cache == "") {
			t.Errorf("Parse(%q) = %+v without an error", s, w)
		}
	})
}

func TestDraftComesBack(t *testing.T) {
	d := Draft{
		Workspace: "sb-1", Hosts: []string{"github.com"}, Source: "ssm:///km/sandbox/{workspace}/github-tokens/{owner}?region=us-east-1",
		Repos: []string{"acme/widgets", "*"},
		Refs:  []refs.Entry{{Ref: "main"}, {Ref: "yes"}, {Ref: "agent/**", Allow: []refs.Verb{refs.Create, refs.Delete}}},
	}
	text, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w, err := Parse(text)
	if err != nil || w.ID != d.Workspace || w.Source.String() != strings.NewReplacer("{", "%7B", "}", "%7D").Replace(d.Source) || !reflect.DeepEqual(w.Refs, d.Refs) {
		t.Errorf("Parse(%s) = %+v, %v, want %+v", text, w, err, d)
	}
	if !strings.Contains(string(text), "source: "+d.Source+"\n") {
		t.Errorf("Encode = %s, want the source to read well", text)
	}
}

// An empty list allows nothing, and the file must state that: an absent key would allow
// any repository.
func TestDraftOfNothingAllowsNothing(t *testing.T) {
	text, err := Draft{Workspace: "sb-1", Hosts: []string{"github.com"}}.Encode()
	if want := "workspace: sb-1\nhosts: [github.com]\nrepos: []\nrefs: []\n"; err != nil || string(text) != want {
		t.Errorf("Encode = %q, %v, want %q", text, err, want)
	}
}

func TestDraftRefusesWhatParseDoes(t *testing.T) {
	for _, d := range []Draft{
		{Workspace: "../x", Hosts: []string{"github.com"}},
		{Workspace: "sb-1"},
		{Workspace: "sb-1", Hosts: []string{"*"}},
		{Workspace: "sb-1", Hosts: []string{"github.com"}, Repos: []string{"acme"}},
	} {
		if text, err := d.Encode(); err == nil {
			t.Errorf("Encode(%+v) = %s, want an error", d, text)
		}
	}
}

func TestParseAuthor(t *testing.T) {
	w, err := Parse([]byte("author: 'acme-bot[bot] <1234+acme-bot[bot]@users.noreply.github.com>'\n"))
	if want := (Author{"acme-bot[bot]", "1234+acme-bot[bot]@users.noreply.github.com"}); err != nil || w.Author != want {
		t.Errorf("Parse = %+v, %v, want %+v", w, err, want)
	}
	for _, text := range []string{
		"", "Bot", "bot@example.com", "<bot@example.com>", " <bot@example.com>", "Bot <>", "Bot <bot>", "Bot <bot@>", "Bot <@example.com>",
		"Bot <a b@example.com>", "Bot <bot@example.com> x", "Bot <bot@example.com", "Bo<t <bot@example.com>", "Bot\nX <bot@example.com>", "Bot  <bot@example.com>",
		"Bot <bot@example.com\x1b>", strings.Repeat("b", 512) + " <bot@example.com>",
	} {
		if name, email, err := ParseAuthor(text); err == nil || !strings.Contains(err.Error(), "want NAME <EMAIL>") {
			t.Errorf("ParseAuthor(%q) = %q, %q, %v, want an error", text, name, email, err)
		}
	}
	for _, text := range []string{"author:\n", "author: [a]\n", "author: 1\n"} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "author must be NAME <EMAIL>") {
			t.Errorf("Parse(%q) = %v, want an error", text, err)
		}
	}
}

func TestIsWorkspaceID(t *testing.T) {
	for _, id := range []string{"a", "sb-1a2b3c", "A.b_c-9", strings.Repeat("a", 128)} {
		if !isWorkspaceID(id) {
			t.Errorf("isWorkspaceID(%q) = false, want true", id)
		}
	}
	for _, id := range []string{"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "\na", "é", "a\x00", strings.Repeat("a", 129)} {
		if isWorkspaceID(id) {
			t.Errorf("isWorkspaceID(%q) = true, want false", id)
		}
	}
}
