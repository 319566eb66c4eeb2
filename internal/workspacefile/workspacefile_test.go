package workspacefile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFirst(t *testing.T) {
	dir := t.TempDir()
	system, home := filepath.Join(dir, "etc.yaml"), filepath.Join(dir, "home")
	mine := filepath.Join(home, ".config/gatepass/workspace.yaml")
	write := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what, home, want string) {
		t.Helper()
		if got := first(system, home); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	want("without any file", home, system)
	write(mine)
	want("with the home's alone", home, mine)
	want("with a home that is relative", "home", system)
	want("without a home", "", system)
	write(system)
	want("with both", home, system)
	if err := os.Remove(system); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", system); err != nil {
		t.Fatal(err)
	}
	want("with a link to nowhere", home, system)
}
