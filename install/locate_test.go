package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/config"
)

// Without a workspace file the guard denies every push on the machine. The installer
// must say so before that, with what to write.
func TestNewWantsAWorkspaceFile(t *testing.T) {
	if _, err := os.Stat(config.DefaultPath); err == nil {
		t.Skip("this machine has a workspace file: ", config.DefaultPath)
	}
	bin := t.TempDir()
	for _, name := range programs {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"HOME": t.TempDir(), "PATH": filepath.Dir(testGit(t).path), "GIT_CONFIG_SYSTEM": filepath.Join(t.TempDir(), "gitconfig")}
	for name, o := range map[string]Options{
		"for oneself":     {BinDir: bin},
		"with a host":     {BinDir: bin, Hosts: []string{"github.com"}},
		"without a guard": {BinDir: bin, Guard: GuardNone},
		"for everybody":   {BinDir: bin, Scope: System},
		"in an image":     {From: bin, Scope: Image, Root: t.TempDir()},
	} {
		o.Getenv = func(name string) string { return env[name] }
		if _, err := New(t.Context(), o); err == nil || !strings.Contains(err.Error(), config.DefaultPath+": the guard would deny every push; ") {
			t.Errorf("%s: New = %v, want the missing file in an error", name, err)
		}
		o.PolicyLater = true
		p, err := New(t.Context(), o)
		if err != nil {
			t.Errorf("%s: New with PolicyLater = %v", name, err)
			continue
		}
		if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.HasPrefix(n, "there is no workspace file ") }) {
			t.Errorf("%s: New with PolicyLater notes %q, want the missing file in it", name, p.Notes)
		}
	}
}
