package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/internal/config"
)

// Without a workspace file git gets no token, which whoever installs first
// should hear from install and not from git.
func TestNewNotesThatThereIsNoWorkspaceFile(t *testing.T) {
	if _, err := os.Stat(config.DefaultPath); err == nil {
		t.Skip("this machine has a workspace file: ", config.DefaultPath)
	}
	bin := t.TempDir()
	for _, name := range []string{helperName, guardName} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"HOME": t.TempDir(), "PATH": filepath.Dir(testGit(t).path), "GIT_CONFIG_SYSTEM": os.DevNull}
	for name, o := range map[string]Options{
		"for oneself":     {BinDir: bin},
		"with a host":     {BinDir: bin, Hosts: []string{"github.com"}},
		"without a guard": {BinDir: bin, Guard: GuardNone},
	} {
		o.Getenv = func(name string) string { return env[name] }
		p, err := New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		noted := slices.ContainsFunc(p.Notes, func(n string) bool { return strings.HasPrefix(n, "there is no "+config.DefaultPath+" yet") })
		if want := o.Hosts == nil; noted != want {
			t.Errorf("%s: New notes %q, want the missing file in it: %t", name, p.Notes, want)
		}
	}
}
