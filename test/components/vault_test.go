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

// vaultProgram writes a shell script that replaces the server.
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
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("stop took %v, want it at once", took)
	}
}

func TestStartVaultThatEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := startVault(ctx, vaultProgram(t, "echo no room >&2; exit 1"))
	if err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("startVault = %v, want an error with what it printed", err)
	}
}
