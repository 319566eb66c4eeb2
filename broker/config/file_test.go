package config

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/workspace/profile"
)

const whole = `listen: unix:///run/gatepass/broker.sock
store: file:///var/lib/gatepass
github_url: https://ghe.example
audit: /var/log/gatepass/audit.jsonl
profiles: ["@DIR@/profiles/*.yaml"]
callers:
  - socket: {uid: 1000}
    claims: {pid: {pattern: "[0-9]+"}}
    workspace: "sb-{claim.uid}"
    profile: agent
`

func loadFile(t *testing.T, text string) (*File, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "profiles"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"profiles/agent.yaml": "metadata: {name: agent}\nspec: {sourceAccess: {github: {allowedRepos: [acme/widgets]}}}\n",
		"broker.yaml":         strings.ReplaceAll(text, "@DIR@", dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(filepath.Join(dir, "broker.yaml"))
}

func TestLoad(t *testing.T) {
	f, err := loadFile(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Policy(new(Identifiers))
	if err != nil || len(p.Rules) != 1 || p.Hosts[0] != "ghe.example" || p.Rules[0].Name != "callers[0]" || len(p.Hash) != 64 || p.Rules[0].Profile != f.ByName["agent"] {
		t.Errorf("Policy = %+v, %v", p, err)
	}
	if _, err := p.Resolve(t.Context(), httptest.NewRequest("POST", "/", nil)); err == nil {
		t.Error("a caller without a socket is somebody")
	}
	if ok, err := p.Rules[0].Match.Match(broker.Caller{Claims: map[string]any{"uid": "1000", "pid": "7"}}); !ok || err != nil {
		t.Errorf("the rule does not match its caller: %v", err)
	}
	if ok, _ := p.Rules[0].Match.Match(broker.Caller{Claims: map[string]any{"uid": "1000", "pid": "7x"}}); ok {
		t.Error("a pattern matches a part of a claim")
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, replacement, want string }{
		{"an unknown key", "audit:", "audits:", `line 4 column 1: unknown key "audits"`},
		{"no listener", "listen: unix:///run/gatepass/broker.sock\n", "", "listen is missing"},
		{"no audit", "audit: /var/log/gatepass/audit.jsonl\n", "", "audit is missing"},
		{"no such profile", "profile: agent", "profile: ci", `callers[0]: there is no profile "ci"`},
		{"a glob that finds nothing", "*.yaml", "*.yml", "profiles: no file matches"},
		{"no method", "- socket: {uid: 1000}\n    claims", "- claims", "exactly one of"},
		{"an unbalanced pattern", `"[0-9]+"`, `"a)|(b"`, "the pattern is not a regular expression"},
		{"a claim that is a list", `{pattern: "[0-9]+"}`, `[a, b]`, "a claim must be a string or {pattern: EXPRESSION}"},
		{"an empty claim", `{pattern: "[0-9]+"}`, `""`, "a claim must be a string or {pattern: EXPRESSION}"},
		{"an id that climbs", `"sb-{claim.uid}"`, `"../{claim.uid}"`, "callers[0]: workspace"},
		{"a template that is not closed", `"sb-{claim.uid}"`, `"sb-{claim.uid"`, "without }"},
		{"a bad host", "audit:", "hosts: ['*']\naudit:", "want an exact host"},
	} {
		f, err := loadFile(t, strings.Replace(whole, c.old, c.replacement, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Load = %v, %v, want one line with %q", c.name, f, err, c.want)
		}
	}
}

// A changed profile makes another policy hash.
func TestHashIsOfEverything(t *testing.T) {
	a, errA := loadFile(t, whole)
	b, errB := loadFile(t, strings.Replace(whole, "uid: 1000", "uid: 1001", 1))
	if errA != nil || errB != nil || a.Hash == b.Hash {
		t.Errorf("hashes %v and %v, %v, %v", a, b, errA, errB)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("listen: [a, b]\ncallers: [{claims: {a: 1, b: true, c: {pattern: x}}}]\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = Parse(data) })
}

// Parts of a profile that are ignored, or probably not meant, are reported in the
// broker's log and by --check, because nothing else checks the file.
func TestWarningsOfProfiles(t *testing.T) {
	p, err := profile.Parse([]byte("apiVersion: klankermaker.ai/v1alpha1\nkind: SandboxProfile\nspec: {\"run\\u202etime\": {}, sourceAccess: {mode: none}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := &File{ByName: map[string]*profile.Profile{"b": p, "a": {}}}
	if got, want := f.Warnings(), []string{`profile b: ignored, because gatepass reads only spec.sourceAccess: spec.run\u202etime`}; !slices.Equal(got, want) {
		t.Errorf("Warnings = %q, want %q", got, want)
	}
}
