//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

func TestVaultKeyFollowsTheModule(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := vaultKey(dir)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := write("go.mod", "v1")
	if again := write("go.mod", "v1"); again != first {
		t.Errorf("vaultKey of the same module = %s, want %s", again, first)
	}
	if other := write("main.go", "x"); other == first {
		t.Errorf("vaultKey of a changed module = %s, want another one", other)
	}
}

// vaultProgram writes a shell script that stands for the server.
func vaultProgram(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vault")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStartVault(t *testing.T) {
	program := vaultProgram(t, `echo '{"address":"http://127.0.0.1:1","root_token":"root","unseal_key":"ab"}'; cat >/dev/null`)
	v, err := startVault(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(v.env(), " "); !strings.HasPrefix(got, "GATEPASS_TEST_VAULT_ADDR=http://127.0.0.1:1 GATEPASS_TEST_VAULT_TOKEN=root ") {
		t.Errorf("env = %s", got)
	}
	began := time.Now()
	v.stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("stop took %v, want it at once", took)
	}
}

func TestStartVaultThatEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := startVault(ctx, vaultProgram(t, "echo no room >&2; exit 1"))
	if err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("startVault = %v, want an error with what it printed", err)
	}
}
