package memory

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What the search looks for is found at any place of a file, also where two parts meet.
func TestScan(t *testing.T) {
	const canary = "ghs_canary"
	path := filepath.Join(t.TempDir(), "file")
	for _, at := range []int{0, window - 1, window + overlap - 5, window + overlap, 2*window + overlap - 1, 3 * window} {
		data := make([]byte, 3*window+len(canary))
		copy(data[at:], canary)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		found := false
		if err := Scan(path, func(part []byte) bool { found = found || bytes.Contains(part, []byte(canary)); return true }); err != nil {
			t.Fatal(err)
		}
		if !found {
			t.Errorf("a text at byte %d of %d is not found", at, len(data))
		}
	}
}

func TestCoreFiles(t *testing.T) {
	if err := Missing(); err != nil {
		t.Skip("missing: ", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "core.txt"), []byte("not a core file"), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", CoreLimit+" && kill -ABRT $$")
	shell.Dir, shell.Env = dir, []string{"CANARY=ghs_canary"}
	if err := shell.Run(); err == nil {
		t.Error("the shell was not aborted")
	}
	found, err := CoreFiles(dir)
	if err != nil || len(found) != 1 {
		t.Fatalf("CoreFiles = %q, %v, want one file", found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil || !bytes.Contains(data, []byte("CANARY=ghs_canary")) {
		t.Errorf("%d bytes of the core file (%v) do not have the program's environment", len(data), err)
	}
}
