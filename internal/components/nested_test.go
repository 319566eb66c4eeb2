//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRequiredVersion(t *testing.T) {
	const gomod = "module x\n\nrequire github.com/a/b v1.2.3\n\nrequire (\n\tgithub.com/hashicorp/vault/sdk v0.8.1\n\tgithub.com/hashicorp/vault v1.13.0 // indirect\n)\n"
	for module, want := range map[string]string{
		"github.com/hashicorp/vault": "1.13.0",
		"github.com/a/b":             "1.2.3",
		"github.com/a":               "",
	} {
		if got := requiredVersion(gomod, module); got != want {
			t.Errorf("requiredVersion(%s) = %q, want %q", module, got, want)
		}
	}
}

func TestKeyFollowsTheModule(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := nestedModule("x").key(dir)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := write("go.mod", "v1")
	if again := write("go.mod", "v1"); again != first {
		t.Errorf("key of the same module = %s, want %s", again, first)
	}
	if other := write("main.go", "x"); other == first {
		t.Errorf("key of a changed module = %s, want another one", other)
	}
}
