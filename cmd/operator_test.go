//go:build linux

package cmd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each row is a command line of gatepass-operator that ends at once, its exit code, and
// what it prints. The program is run as built: a test binary of its package would take
// longer to link than all these take.
func TestTheOperatorsCommandLine(t *testing.T) {
	if testing.Short() && os.Getenv(binVariable) == "" {
		t.Skip("builds the programs")
	}
	program := filepath.Join(programs(t, scratch(t)), "gatepass-operator")
	nowhere := filepath.Join(t.TempDir(), "kubeconfig")
	for _, row := range []struct {
		args   string
		env    []string
		code   int
		stdout string
		stderr string
	}{
		{"--version", nil, 0, "gatepass-operator ", ""},
		{"-h", nil, 0, "usage: gatepass-operator [options]", ""},
		{"--leader", nil, 2, "", "flag provided but not defined: -leader"},
		{"", nil, 2, "", "the operator does not know its own namespace; set POD_NAMESPACE or --namespace"},
		{"--namespace n run", nil, 2, "", "unexpected argument run"},
		{"--namespace n --webhook-failure-policy ignore", nil, 2, "", "must be Ignore or Fail"},
		{"--namespace n --mints-per-minute -1", nil, 2, "", "--mints-per-minute must not be negative"},
		// The namespace comes from the pod too; then the next error is reported.
		{"--mints-per-minute=-1", []string{"POD_NAMESPACE=gatepass"}, 2, "", "--mints-per-minute must not be negative"},
		{"--namespace n --kubeconfig " + nowhere, nil, 1, "", "no such file"},
	} {
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), program, strings.Fields(row.args)...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append([]string{}, row.env...), &stdout, &stderr
		err := cmd.Run()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		code := cmd.ProcessState.ExitCode()
		if code != row.code || !strings.HasPrefix(stdout.String(), row.stdout) || !strings.Contains(stderr.String(), row.stderr) {
			t.Errorf("gatepass-operator %s = %d, %q, %q, want %d, %q, %q", row.args, code, stdout.String(), stderr.String(), row.code, row.stdout, row.stderr)
		}
		if row.code == 1 && strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("gatepass-operator %s says %q, want one line", row.args, stderr.String())
		}
	}
}
