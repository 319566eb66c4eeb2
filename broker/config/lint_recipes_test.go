package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// profileText is the profile that the rules of these tests give.
const profileText = "metadata: {name: ci}\nspec: {sourceAccess: {github: {allowedRepos: [acme/widgets], permissions: {contents: write}}}}\n"

// load reads a file with these rules, and the profiles ci and agent.
func load(t *testing.T, callers string) *File {
	t.Helper()
	f, err := tryLoad(t, callers)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func tryLoad(t *testing.T, callers string) (*File, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"ci.profile":    profileText,
		"agent.profile": strings.Replace(profileText, "name: ci", "name: agent", 1),
		"broker.yaml":   "listen: unix:///run/broker.sock\naudit: /var/log/audit\nprofiles: [\"" + dir + "/*.profile\"]\ncallers:\n" + callers,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return LoadDraft(filepath.Join(dir, "broker.yaml"))
}

// blocks returns the rules and their cases, in the order of the page.
func blocks(t *testing.T) (callers, cases []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/callers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(page), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		switch {
		case strings.HasPrefix(text, "- oidc:"):
			callers = append(callers, text)
		case strings.HasPrefix(text, "- name:"):
			cases = append(cases, text)
		}
	}
	return callers, cases
}

// The recipes in the documentation do what it says, without findings.
func TestRecipes(t *testing.T) {
	callers, cases := blocks(t)
	if len(callers) != 5 || len(cases) != len(callers) {
		t.Fatalf("the page has %d recipes and %d lists of cases, want 5", len(callers), len(cases))
	}
	for i, text := range callers {
		f := load(t, text)
		for _, finding := range Lint(f) {
			if finding.Check != "profile" {
				t.Errorf("recipe %d: %+v", i, finding)
			}
		}
		tester, err := NewTester(f)
		if err != nil {
			t.Fatal(err)
		}
		tried, err := ParseCases([]byte(cases[i]))
		if err != nil {
			t.Fatalf("recipe %d: %v", i, err)
		}
		for _, c := range tried {
			if o := tester.Try(t.Context(), c); !o.Passed {
				t.Errorf("recipe %d, %s: %s, want %s", i, c.Name, o.Got, o.Wanted)
			}
		}
	}
}
