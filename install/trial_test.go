//go:build linux

package install_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/install"
)

// The guard does not judge a push to a folder. So a trial has to look like a push to a
// host, also to git's hooks, and must still not leave the machine.
func TestTrialPushLooksLikeOneToAHost(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("missing: git")
	}
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	remote, work := filepath.Join(dir, "it's a remote.git"), filepath.Join(dir, "work")
	git := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("git", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	git("init", "-q", "--bare", remote)
	git("init", "-q", work)
	git("-C", work, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "--allow-empty", "-m", "x")
	seen := filepath.Join(dir, "seen")
	write(t, filepath.Join(work, ".git/hooks/pre-push"), "#!/bin/sh\necho \"$2\" >'"+seen+"'\ncat >>'"+seen+"'\n", 0o755)

	// The host does not exist, and a user's own rules for transports do not matter.
	const url = "https://ghe.invalid/gatepass/trial"
	options := append([]string{"-C", work, "-c", "protocol.allow=never"}, install.TrialOptions(url, remote)...)
	git(append(options, "push", "-q", install.TrialRemote, "HEAD:refs/heads/x")...)

	text, err := os.ReadFile(seen)
	if err != nil || !strings.HasPrefix(string(text), url+"\nHEAD ") || !strings.Contains(string(text), " refs/heads/x ") {
		t.Errorf("pre-push was told %q, %v, want %s and the push", text, err, url)
	}
	if got := git("-C", remote, "rev-parse", "refs/heads/x"); got != git("-C", work, "rev-parse", "HEAD") {
		t.Errorf("the repository has %s, want what was pushed", got)
	}
}
