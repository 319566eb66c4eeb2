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

func TestCheckOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "workspace.yaml")
	if err := CheckOwner(path); err != nil {
		t.Errorf("CheckOwner(absent) = %v, want nil: Load says it better", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o600: "", 0o644: "", 0o444: "", 0o660: "mode 0660", 0o602: "mode 0602"} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		err := CheckOwner(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckOwner(mode %04o) = %v, want %q", mode, err, want)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to someone else")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Skipf("chown is not allowed here: %v", err)
	}
	if err := CheckOwner(path); err == nil || !strings.Contains(err.Error(), "user 12345") {
		t.Errorf("CheckOwner(someone else's) = %v, want it refused", err)
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
	case <-time.After(10 * time.Second):
		t.Error("Load(a pipe) still waits after 10 s")
	}
}
