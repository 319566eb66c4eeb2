//go:build unix

package trustedfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// stranger is a user that is neither root nor the one that runs the tests.
const stranger = 12345

// house makes a directory that only this user can write to, whatever the umask,
// with a file in it.
func house(t *testing.T) (dir, path string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	change(t, dir, 0o755)
	path = filepath.Join(dir, "file")
	write(t, path, "good")
	return dir, path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func makeDir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	change(t, path, 0o755)
}

func change(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// give gives a file to another user, which only root can do.
func give(t *testing.T, path string, uid int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to someone else")
	}
	if err := os.Lchown(path, uid, -1); err != nil {
		t.Skipf("chown is not allowed here: %v", err)
	}
}

func read(path string, refused fs.FileMode) (string, error) {
	f, err := Open("the file", path, refused)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	return string(text), err
}

// opens checks whether a file is opened as expected: want is "", or part of the reason
// for a refusal.
func opens(t *testing.T, path string, refused fs.FileMode, want string) {
	t.Helper()
	text, err := read(path, refused)
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("Open = %v, want %q", err, want)
	}
	if err == nil && text != "good" {
		t.Errorf("Open reads %q, want what is in the file", text)
	}
}

func TestFileThatOthersCanUse(t *testing.T) {
	_, path := house(t)
	for _, c := range []struct {
		mode, refused fs.FileMode
		want          string
	}{
		{0o600, Writing, ""},
		{0o644, Writing, ""},
		{0o444, Writing, ""},
		{0o660, Writing, "trust the file " + path + ": other users can write to it (mode 0660); run chmod go-w " + usererr.Quote(path)},
		{0o602, Writing, "mode 0602"},
		{0o600, ReadingAndWriting, ""},
		{0o400, ReadingAndWriting, ""},
		{0o604, ReadingAndWriting, "other users can read it (mode 0604); run chmod go= " + usererr.Quote(path)},
		{0o622, ReadingAndWriting, "other users can write to it (mode 0622)"},
	} {
		change(t, path, c.mode)
		opens(t, path, c.refused, c.want)
	}
	change(t, path, 0o600)
	give(t, path, stranger)
	opens(t, path, Writing, "it belongs to user 12345, who is neither root nor this user; run chown -h root "+usererr.Quote(path))
	give(t, path, overflowUID)
	opens(t, path, Writing, "its owner has no user ID in this container; map its owner into the container")
}

// A user who can write to a directory can replace a file in it with another file of
// yours, or with a link to one. A group may have members that its directory does not
// list, so a directory made with umask 002 is refused as well.
func TestDirectoryThatOthersCanWriteTo(t *testing.T) {
	dir, path := house(t)
	for mode, want := range map[os.FileMode]string{
		0o755: "", 0o700: "", 0o711: "",
		0o775:                 "other users can replace it: the group of " + dir + " can write to it (mode 0775); run chmod go-w " + usererr.Quote(dir) + " or move the file",
		0o770 | os.ModeSetgid: "the group of " + dir + " can write to it (mode 0770)",
		0o777:                 "other users can replace it: " + dir + " is open to all (mode 0777); run chmod go-w " + usererr.Quote(dir) + " (or add +t if all users must write) or move the file",
		0o703:                 dir + " is open to all (mode 0703)",
		0o777 | os.ModeSetgid: dir + " is open to all",
		0o777 | os.ModeSticky: "",
		0o775 | os.ModeSticky: "",
	} {
		change(t, dir, mode)
		opens(t, path, Writing, want)
	}
}

// A Windows drive in WSL shows everything with mode 0777, and chmod succeeds
// there without changing anything.
func TestWhatToDoOnAWindowsDrive(t *testing.T) {
	dir, path := house(t)
	change(t, path, 0o777)
	opens(t, path, Writing, "metadata,umask=22")
	change(t, path, 0o600)
	change(t, dir, 0o777)
	opens(t, path, Writing, "metadata,umask=22")
}

func TestDirectoryFurtherUp(t *testing.T) {
	dir, _ := house(t)
	path := filepath.Join(dir, "a", "b", "file")
	makeDir(t, filepath.Dir(path))
	write(t, path, "good")
	opens(t, path, Writing, "")
	change(t, dir, 0o777)
	opens(t, path, Writing, dir+" is open to all")
	change(t, dir, 0o775)
	opens(t, path, Writing, "the group of "+dir+" can write to it")
}

// A directory's owner can rename what is in it, even the files of others. An example is
// /workspaces of another user in a dev container.
func TestDirectoryOfAThirdUser(t *testing.T) {
	dir, _ := house(t)
	path := filepath.Join(dir, "third", "ours", "file")
	makeDir(t, filepath.Dir(path))
	write(t, path, "good")
	third := filepath.Join(dir, "third")
	for uid, want := range map[int]string{
		stranger:    "other users can replace it: " + third + " belongs to user 12345, who is neither root nor this user; run chown -h root " + usererr.Quote(third) + " or move the file",
		overflowUID: "other users can replace it: " + third + " shows as user 65534: its owner has no user ID in this container; map its owner",
	} {
		give(t, third, uid)
		for _, mode := range []os.FileMode{0o755, 0o700, 0o777 | os.ModeSticky} {
			change(t, third, mode)
			opens(t, path, Writing, want)
		}
	}
}

// With the sticky bit only the owner of an entry can replace it.
func TestEntryOfAThirdUserInAStickyDirectory(t *testing.T) {
	dir, path := house(t)
	inner := filepath.Join(dir, "inner")
	makeDir(t, inner)
	write(t, filepath.Join(inner, "file"), "good")
	change(t, dir, 0o777|os.ModeSticky)
	opens(t, filepath.Join(inner, "file"), Writing, "")
	give(t, inner, stranger)
	opens(t, filepath.Join(inner, "file"), Writing, inner+" belongs to user 12345")
	give(t, path, stranger)
	opens(t, path, Writing, "other users can replace it: "+path+" belongs to user 12345")
}

// A link leads where its owner chose.
func TestLinkThatOthersCanReplace(t *testing.T) {
	open, _ := house(t)
	dir, path := house(t)
	first := filepath.Join(open, "first")
	link(t, dir, first)
	through := filepath.Join(first, "file")
	opens(t, through, Writing, "")
	for mode, want := range map[os.FileMode]string{
		0o777: open + " is open to all", 0o775: "the group of " + open, 0o777 | os.ModeSticky: "", 0o755: "",
	} {
		change(t, open, mode)
		opens(t, through, Writing, want)
		opens(t, path, Writing, "")
	}
	give(t, first, stranger)
	for _, mode := range []os.FileMode{0o755, 0o777 | os.ModeSticky} {
		change(t, open, mode)
		opens(t, through, Writing, "other users can replace it: "+first+" belongs to user 12345")
	}
}

// The target of a link is checked as well.
func TestLinkIntoADirectoryOfAThirdUser(t *testing.T) {
	dir, path := house(t)
	third := filepath.Join(dir, "third")
	makeDir(t, third)
	write(t, filepath.Join(third, "file"), "good")
	through := filepath.Join(dir, "link")
	link(t, "./third/../third/file", through)
	opens(t, through, Writing, "")
	opens(t, path, Writing, "")
	give(t, third, stranger)
	opens(t, through, Writing, third+" belongs to user 12345")
}

// Here and in the kernel, the same path leads to the same file.
func TestPathsAreFollowedAsTheKernelDoes(t *testing.T) {
	dir, _ := house(t)
	makeDir(t, filepath.Join(dir, "far", "away"))
	write(t, filepath.Join(dir, "far", "file"), "good")
	for name, target := range map[string]string{"link": "far/./away", "chain": dir + "/link", "round": "round", "back": "../" + filepath.Base(dir) + "/far/file"} {
		link(t, target, filepath.Join(dir, name))
	}
	for _, path := range []string{"//chain/../file", "/link/../file", "/far//away/.././file", "/back"} {
		opens(t, dir+path, Writing, "")
	}
	for path, want := range map[string]error{
		"/round/x": syscall.ELOOP, "/round": syscall.ELOOP, "/none/x": fs.ErrNotExist, "/far/none": fs.ErrNotExist,
		"/back/x": syscall.ENOTDIR, "/far": errNotRegular, "/..": errNotRegular, "": errNotRegular,
	} {
		if _, err := read(dir+path, Writing); !errors.Is(err, want) {
			t.Errorf("Open(%q) = %v, want %v", path, err, want)
		}
	}
	t.Chdir(filepath.Join(dir, "far"))
	opens(t, "file", Writing, "")
	opens(t, "../back", Writing, "")
}

// Opening a pipe would wait for its other end.
func TestPipeIsNotOpened(t *testing.T) {
	dir, _ := house(t)
	if err := syscall.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	opens(t, dir+"/pipe", Writing, "it is not a regular file")
}

// A user who can replace a link may put the old one back before the check. What was
// checked is what is read.
func TestNothingIsReadThatWasNotChecked(t *testing.T) {
	dir, path := house(t)
	bad := filepath.Join(dir, "bad")
	write(t, bad, "bad")
	change(t, dir, 0o777|os.ModeSticky)
	name, mine, theirs := filepath.Join(dir, "name"), filepath.Join(dir, "mine"), filepath.Join(dir, "theirs")
	var swapping sync.WaitGroup
	end := time.Now().Add(100 * time.Millisecond)
	link(t, bad, theirs)
	give(t, theirs, stranger)
	link(t, path, name)
	link(t, path, mine)
	swapping.Go(func() {
		for time.Now().Before(end) {
			_ = os.Rename(name, mine)
			_ = os.Rename(theirs, name)
			_ = os.Rename(name, theirs)
			_ = os.Rename(mine, name)
		}
	})
	defer swapping.Wait()
	for time.Now().Before(end) {
		if text, err := read(name, Writing); err == nil && text != "good" {
			t.Fatalf("Open reads %q, want the file of this user or an error", text)
		}
	}
}

// An administrator who makes a file for a service leaves it to root and gives it the
// service's group. Another group is not intended.
func TestSecretThatRootSharesWithAGroup(t *testing.T) {
	_, path := house(t)
	change(t, path, 0o640)
	if os.Geteuid() != 0 {
		t.Skip("only root has files of root's")
	}
	opens(t, path, ReadingAndWriting, "")
	if err := os.Chown(path, 0, stranger); err != nil {
		t.Skipf("chown is not allowed here: %v", err)
	}
	opens(t, path, ReadingAndWriting, "other users can read it (mode 0640)")
	opens(t, path, Writing, "")
}

func TestCheckDir(t *testing.T) {
	dir, path := house(t)
	inner := filepath.Join(dir, "inner")
	makeDir(t, inner)
	check := func(path, want string) {
		t.Helper()
		if err := CheckDir("the log", path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckDir(%s) = %v, want %q", path, err, want)
		}
	}
	check(inner, "")
	check(path, "not a directory")
	check(filepath.Join(dir, "none"), "no such file")
	change(t, inner, 0o775)
	check(inner, "the group of "+inner+" can write to it")
	change(t, inner, 0o777)
	check(inner, inner+" is open to all")
	change(t, inner, 0o755)
	change(t, dir, 0o777)
	check(inner, dir+" is open to all")
	change(t, dir, 0o775)
	if os.Geteuid() == 0 { // as /var/log has the group syslog
		check(inner, "")
	}
	give(t, dir, stranger)
	check(inner, dir+" belongs to user 12345")
}
