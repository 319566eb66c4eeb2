//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/internal/oneline"
)

// house makes a directory that only this user can write to, whatever the umask,
// with a workspace file in it.
func house(t *testing.T) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "workspace.yaml")
	change(t, dir, 0o755)
	if err := os.WriteFile(path, []byte("refs: [main]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func change(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// give gives a file to another user, as only root can.
func give(t *testing.T, path string, uid int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to someone else")
	}
	if err := os.Lchown(path, uid, -1); err != nil {
		t.Skipf("chown is not allowed here: %v", err)
	}
}

// loads tells whether a workspace file is read as it should be: want is "", or
// part of the reason for which it is refused.
func loads(t *testing.T, path, want string) {
	t.Helper()
	_, err := Load(path)
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("Load = %v, want %q", err, want)
	}
	if _, err := LoadDraft(path); err != nil {
		t.Errorf("LoadDraft = %v, want it read whoever may change it", err)
	}
}

func TestLoadTrustsWhatOnlyRootAndItsReaderCanWrite(t *testing.T) {
	_, path := house(t)
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o644: "", 0o444: "",
		0o660: "others can write to it (mode 0660); run chmod go-w " + oneline.Quote(path),
		0o602: "mode 0602",
		0o777: "metadata,umask=22",
	} {
		change(t, path, mode)
		loads(t, path, want)
	}
	change(t, path, 0o600)
	give(t, path, 12345)
	loads(t, path, "it belongs to user 12345, who is neither root nor you; run chown root "+oneline.Quote(path))
	give(t, path, nobody)
	loads(t, path, "its owner has no number in this container")
}

// Whoever can write to a directory can put a file that was yours before, or a
// link to one, in the place of another.
func TestLoadTrustsNoDirectoryOpenToAll(t *testing.T) {
	dir, path := house(t)
	for mode, want := range map[os.FileMode]string{
		0o755:                 "",
		0o775:                 "",
		0o777 | os.ModeSticky: "",
		0o777:                 "others can replace it: " + dir + " is open to all (mode 0777); run chmod o-w " + oneline.Quote(dir),
		0o703:                 "is open to all (mode 0703)",
		0o770 | os.ModeSetgid: "",
		0o777 | os.ModeSetgid: "is open to all",
	} {
		change(t, dir, mode)
		loads(t, path, want)
	}
}

func TestLoadTrustsNoDirectoryOpenToAllFurtherUp(t *testing.T) {
	dir, _ := house(t)
	inner := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(inner, "workspace.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	loads(t, path, "")
	change(t, dir, 0o777)
	loads(t, path, dir+" is open to all")
}

func TestLoadTrustsNoLinkInADirectoryOpenToAll(t *testing.T) {
	open, _ := house(t)
	_, path := house(t)
	first := filepath.Join(open, "first")
	if err := os.Symlink(filepath.Dir(path), first); err != nil {
		t.Fatal(err)
	}
	through := filepath.Join(first, "workspace.yaml")
	loads(t, through, "")
	change(t, open, 0o777)
	loads(t, through, open+" is open to all")
	loads(t, path, "")
	change(t, open, 0o777|os.ModeSticky)
	loads(t, through, "")
	give(t, first, 12345)
	loads(t, through, first+" belongs to somebody else, who can replace it")
}

func TestStepsFollowLinksAsTheKernelDoes(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "far", "away"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": "far/./away", "chain": dir + "/link", "round": "round"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var steps []string
	err = eachStep(dir+"//chain/../x", func(in, next string) error {
		if step, ok := strings.CutPrefix(next, dir+"/"); ok {
			steps = append(steps, strings.TrimPrefix(in, dir)+" "+step)
		}
		return nil
	})
	if want := []string{" chain", " link", " far", "/far far/away", "/far far/x"}; err != nil || !slices.Equal(steps, want) {
		t.Errorf("eachStep = %q, %v, want %q", steps, err, want)
	}
	if err := eachStep(dir+"/round/x", func(string, string) error { return nil }); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("eachStep(a link to itself) = %v, want %v", err, syscall.ELOOP)
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
