//go:build unix

package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A user who can change the file decides what this workspace may do; a draft that is
// only checked may belong to any user.
func TestOnlyADraftMayBeAnybodys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "workspace.yaml")
	if err := os.WriteFile(path, []byte("refs: [main]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o755: "", 0o775: "trust the workspace file " + path} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Load below a directory of mode %04o = %v, want %q", mode, err, want)
		}
		if _, err := LoadDraft(path); err != nil {
			t.Errorf("LoadDraft below a directory of mode %04o = %v, want it read", mode, err)
		}
	}
}

func TestLoadDoesNotWaitForAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "workspace.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	loaded := make(chan error, 1)
	go func() {
		_, err := Load(path)
		loaded <- err
	}()
	select {
	case err := <-loaded:
		if err == nil || !strings.Contains(err.Error(), path+": it is not a regular file") {
			t.Errorf("Load(a pipe) = %v, want it refused", err)
		}
	case <-time.After(time.Minute):
		t.Error("Load(a pipe) still waits after a minute")
	}
}
