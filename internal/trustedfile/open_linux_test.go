package trustedfile

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Kubernetes mounts a ConfigMap read-only, and shows its directory as writable for all:
// no user on the machine can replace what is in it.
func TestDirectoryMountedReadOnly(t *testing.T) {
	dir, _ := house(t)
	source, mounted := filepath.Join(dir, "source"), filepath.Join(dir, "mounted")
	makeDir(t, source)
	makeDir(t, mounted)
	write(t, filepath.Join(source, "file"), "good")
	link(t, "file", filepath.Join(source, "link"))
	if err := syscall.Mount(source, mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("missing: the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mounted, syscall.MNT_DETACH) })
	change(t, source, 0o777)
	opens(t, filepath.Join(mounted, "file"), Writing, mounted+" is open to all")
	if err := syscall.Mount("", mounted, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("missing: the right to mount read-only: %v", err)
	}
	opens(t, filepath.Join(mounted, "file"), Writing, "")
	give(t, filepath.Join(source, "link"), stranger)
	change(t, source, 0o755)
	give(t, source, stranger)
	opens(t, filepath.Join(mounted, "link"), Writing, "")
}

// A directory that may be searched but not listed, as many homes are, is allowed.
func TestDirectoryThatCannotBeListed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can look as another user")
	}
	dir, path := house(t)
	change(t, filepath.Dir(dir), 0o711)
	change(t, dir, 0o711)
	change(t, path, 0o644)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := syscall.Setfsuid(stranger); err != nil {
			t.Error(err)
			return
		}
		opens(t, path, Writing, "")
	}()
	<-done
}

// Kubernetes mounts a Secret read-only, in memory, behind a link by which it replaces
// all of its files at once, and with mode 0644 unless the pod asks for another. A file
// that has only that mode is refused.
func TestSecretOfKubernetes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	dir, _ := house(t)
	mounted := filepath.Join(dir, "mounted")
	makeDir(t, mounted)
	if err := syscall.Mount("tmpfs", mounted, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("missing: the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mounted, syscall.MNT_DETACH) })
	change(t, mounted, 0o777|os.ModeSticky)
	version := filepath.Join(mounted, "..2026_11_30_00_00_00.1")
	makeDir(t, version)
	file := filepath.Join(version, "tls.key")
	write(t, file, "good")
	change(t, file, 0o644)
	link(t, filepath.Base(version), filepath.Join(mounted, "..data"))
	link(t, "..data/tls.key", filepath.Join(mounted, "tls.key"))
	key := filepath.Join(mounted, "tls.key")
	opens(t, key, ReadingAndWriting, "other users can read it (mode 0644)")
	if err := syscall.Mount("", mounted, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("missing: the right to mount read-only: %v", err)
	}
	opens(t, key, ReadingAndWriting, "")
	opens(t, file, ReadingAndWriting, "other users can read it (mode 0644)")
}
