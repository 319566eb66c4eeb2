package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestHelperPath(t *testing.T) {
	type answer struct {
		path string
		ok   bool
	}
	for value, want := range map[string]answer{
		"/usr/bin/git-credential-gatepass":        {"/usr/bin/git-credential-gatepass", true},
		"/'my bin/git-credential-gatepass'":       {"/my bin/git-credential-gatepass", true},
		"!/usr/bin/git-credential-gatepass":       {"/usr/bin/git-credential-gatepass", true},
		"!git-credential-gatepass":                {"", true},
		"gatepass":                                {"", true},
		"store":                                   {"", false},
		"gatepass-other":                          {"", false},
		"git-credential-gatepass":                 {"", false}, // git would run git-credential-git-credential-gatepass
		"!f() { /usr/bin/git-credential-gatepass": {"", false},
		"": {"", false},
	} {
		path, ok := HelperPath(value)
		if got := (answer{path, ok}); got != want {
			t.Errorf("HelperPath(%q) = %v, want %v", value, got, want)
		}
	}
}

func TestGuardPath(t *testing.T) {
	if path, ok := GuardPath("'/my bin/gatepass-pre-push' --configured"); !ok || path != "/my bin/gatepass-pre-push" {
		t.Errorf("GuardPath = %q, %v, want the guard", path, ok)
	}
	for _, command := range []string{"true", "", "gatepass-pre-push", "/usr/bin/true # /usr/bin/gatepass-pre-push"} {
		if path, ok := GuardPath(command); ok {
			t.Errorf("GuardPath(%q) = %q, want none", command, path)
		}
	}
}

func TestGits(t *testing.T) {
	path, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on PATH")
	}
	file := filepath.Join(t.TempDir(), "gitconfig")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"PATH": filepath.Dir(path), "HOME": t.TempDir(), "GIT_CONFIG_SYSTEM": file}
	gits := Gits(t.Context(), func(name string) string { return env[name] })
	if len(gits) != 1 || gits[0].SystemFile != file || !gits[0].AtLeast(2, 0) || gits[0].AtLeast(99, 0) {
		t.Errorf("Gits = %+v, want the one at %s with its system file", gits, path)
	}
}
