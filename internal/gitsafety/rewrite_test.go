package gitsafety

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The answers are those of git itself.
func TestRewrittenIsWhatGitDoes(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("missing: git")
	}
	for _, lines := range [][]string{
		nil,
		{"url.https://a.example/.insteadof=https://github.com/"},
		{"url.https://a.example/.insteadof=https://github.com/", "url.https://b.example/.insteadof=https://github.com/"},
		{"url.https://a.example/.insteadof=https://github.com/", "url.https://b.example/.insteadof=https://github.com/acme/"},
		{"url.https://b.example/.insteadof=https://x/", "url.https://a.example/.insteadof=https://github.com/", "url.https://b.example/.insteadof=https://github.com/"},
		{"url.https://a.example/.insteadof=https://github.com/", "url.git@github.com:.pushinsteadof=https://github.com/", "url.https://c.example/.insteadof=git@github.com:"},
		{"url.https://a.example/.pushinsteadof=git@github.com:", "url.https://b.example/.pushinsteadof=git@github.com:acme/"},
		{"url.https://a.example/.insteadof=", "url.https://b.example/.insteadof=https"},
	} {
		dir := filepath.Join(t.TempDir(), "repo")
		git(t, "init", "-q", dir)
		for i := range lines {
			key, value, _ := strings.Cut(lines[i], "=")
			git(t, "-C", dir, "config", "--add", key, value)
			lines[i] = "local " + lines[i]
		}
		for _, url := range []string{"https://github.com/acme/widgets.git", "git@github.com:acme/widgets.git", "https://other.example/acme/widgets"} {
			git(t, "-C", dir, "config", "remote.origin.url", url)
			for push, option := range map[bool][]string{false: nil, true: {"--push"}} {
				want := git(t, append(append([]string{"-C", dir, "remote", "get-url"}, option...), "origin")...)
				if got, by := Rewritten(settings(lines...), url, push); got != want || (by == nil) != (got == url) {
					t.Errorf("with %q: Rewritten(%s, %v) = %s by %v, and git goes to %s", lines, url, push, got, by, want)
				}
			}
		}
	}
}

func git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Env = append(cmd.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSuffix(string(out), "\n")
}
