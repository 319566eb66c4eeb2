package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// Each row is a command line that ends at once, its exit code, and what it prints.
func TestCommandLine(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "kubeconfig")
	for _, row := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"--version", 0, "gatepass-operator ", ""},
		{"-h", 0, "usage: gatepass-operator [options]", ""},
		{"--leader", 2, "", "flag provided but not defined: -leader"},
		{"", 2, "", "the operator does not know its own namespace; set POD_NAMESPACE or --namespace"},
		{"--namespace n run", 2, "", "there is no argument run"},
		{"--namespace n --webhook-failure-policy ignore", 2, "", "neither Ignore nor Fail"},
		{"--namespace n --mints-per-minute -1", 2, "", "--mints-per-minute is negative"},
		{"--namespace n --kubeconfig " + nowhere, 1, "", "no such file"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(row.args), func(string) string { return "" }, &stdout, &stderr)
		if code != row.code || !strings.HasPrefix(stdout.String(), row.stdout) || !strings.Contains(stderr.String(), row.stderr) {
			t.Errorf("gatepass-operator %s = %d, %q, %q, want %d, %q, %q", row.args, code, stdout.String(), stderr.String(), row.code, row.stdout, row.stderr)
		}
		if row.code == 1 && strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("gatepass-operator %s says %q, want one line", row.args, stderr.String())
		}
	}
}

// The namespace comes from the pod too; then the next error is reported.
func TestNamespaceOfThePod(t *testing.T) {
	var stdout, stderr bytes.Buffer
	pod := func(name string) string { return map[string]string{"POD_NAMESPACE": "gatepass"}[name] }
	if code := run(t.Context(), []string{"--mints-per-minute=-1"}, pod, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "--mints-per-minute is negative") {
		t.Errorf("gatepass-operator = %d, %q, want 2 for the negative number", code, stderr.String())
	}
}
