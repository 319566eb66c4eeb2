//go:build linux

package install_test

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed install.sh
var script string

//go:embed devcontainer/install.sh
var featureScript string

// programs are those that install.sh needs.
var programs = []string{"git-credential-gatepass", "gatepass-askpass", "gatepass-pre-push", "gatepass-agent", "gatepass"}

// release makes a folder with the programs and the script, like an archive of a
// release.
var release = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "gatepass-release-")
	if err != nil {
		return "", err
	}
	released = dir
	if err := errors.Join(os.Chmod(dir, 0o755), fill(dir), os.WriteFile(filepath.Join(dir, "install.sh"), []byte(script), 0o755)); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
})

var released string // the folder that release made, if a test asked for it

func fill(dir string) error {
	built := os.Getenv("GATEPASS_TEST_BIN_DIR")
	for _, name := range programs {
		if built != "" {
			data, err := os.ReadFile(filepath.Join(built, name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
				return err
			}
			continue
		}
		build := exec.Command("go", "build", "-o", dir+"/", "../cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w: %s", name, err, out)
		}
	}
	return nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if released != "" {
		os.RemoveAll(released)
	}
	os.Exit(code)
}

// A shell runs install.sh.
type shell struct {
	name string
	argv []string // the shell itself
	env  []string // the whole environment
	user uint32   // to run as, when the test is root
}

// shells returns the shells of this machine, with their own set of tools. Short tests
// have only one.
func shells(t *testing.T) []shell {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("missing: git")
	}
	env := []string{"HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
	var list []shell
	for _, name := range []string{"dash", "bash"} {
		if _, err := exec.LookPath(name); err == nil {
			list = append(list, shell{name: name, argv: []string{name}, env: append(env[:2:2], "PATH="+os.Getenv("PATH"))})
		}
	}
	if busybox, err := exec.LookPath("busybox"); err == nil {
		dir := t.TempDir()
		applets(t, busybox, dir)
		if err := os.Symlink(git, filepath.Join(dir, "git")); err != nil {
			t.Fatal(err)
		}
		list = append(list, shell{name: "busybox", argv: []string{filepath.Join(dir, "sh")}, env: append(env[:2:2], "PATH="+dir)})
	}
	if len(list) == 0 {
		t.Skip("missing: dash, bash or busybox")
	}
	if testing.Short() {
		list = list[:1]
	}
	return list
}

// applets makes a folder that has every tool of busybox and nothing else.
func applets(t *testing.T, busybox, dir string) {
	t.Helper()
	out, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if err := os.Symlink(busybox, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	// If the test is root, another user runs them as well.
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func eachShell(t *testing.T, f func(*testing.T, shell)) {
	list := shells(t)
	if list[len(list)-1].name != "busybox" {
		t.Log("missing: busybox")
	}
	for _, sh := range list {
		t.Run(sh.name, func(t *testing.T) { f(t, sh) })
	}
}

func (sh shell) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	dir, err := release()
	if err != nil {
		t.Fatal(err)
	}
	return sh.do(t, append([]string{filepath.Join(dir, "install.sh")}, args...)...)
}

// do runs a command line in the shell.
func (sh shell) do(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	argv := append(sh.argv[:len(sh.argv):len(sh.argv)], args...)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = sh.env, "/"
	if sh.user != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: sh.user, Gid: sh.user}}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs install.sh, which must succeed without complaints.
func (sh shell) must(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := sh.run(t, args...)
	if code != 0 || stderr != "" {
		t.Fatalf("install.sh %q = %d, %s%s, want 0 without a complaint", args, code, stdout, stderr)
	}
	return stdout
}

// newRoot makes an image with a configured git and one of conda. All its folders have
// the same time, so that two images are equal.
func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/gitconfig"), "[safe]\n\tdirectory = *\n", 0o644)
	write(t, filepath.Join(root, "opt/conda/bin/git"), "#!/bin/sh\n", 0o755)
	write(t, filepath.Join(root, "usr/bin/git"), "#!/bin/sh\n", 0o755)
	setTimes(t, root)
	return root
}

func setTimes(t *testing.T, root string) {
	t.Helper()
	long := time.Unix(1_500_000_000, 0)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, long, long))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func contains(t *testing.T, path, want string) {
	t.Helper()
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s = %q, %v, want %q in it", path, text, err, want)
	}
}

// withoutGit returns a PATH with the tools of this machine except git.
func withoutGit(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, from := range []string{"/bin", "/usr/bin"} {
		entries, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "git" {
				_ = os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name()))
			}
		}
	}
	return dir
}

// manifest lists for everything below root what a layer of an image records: name,
// mode, owner, time in whole seconds, and content. Kernel file systems and the folders
// in without are left out.
func manifest(t *testing.T, root string, without ...string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, w := range without {
			if path == w {
				return fs.SkipDir
			}
		}
		line, err := entry(root, path)
		lines = append(lines, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func entry(root, path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	name, err := filepath.Rel(root, path)
	if err != nil {
		return "", err
	}
	stat := info.Sys().(*syscall.Stat_t)
	content := ""
	if info.Mode().IsRegular() {
		if content, err = hashed(path, stat); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s %v %d:%d %d %s", name, info.Mode(), stat.Uid, stat.Gid, info.ModTime().Unix(), content), nil
}

// hashes caches the hashes of files, by values that change with the content: no user
// can set the time of a change of status.
var hashes = map[string]string{}

func hashed(path string, stat *syscall.Stat_t) (string, error) {
	key := fmt.Sprint(path, stat.Ino, stat.Size, stat.Ctim)
	if _, ok := hashes[key]; !ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		hashes[key] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return hashes[key], nil
}

// same compares two manifests.
func same(t *testing.T, when string, got, want []string) {
	t.Helper()
	has := map[string]bool{}
	for _, line := range want {
		has[line] = true
	}
	for _, line := range got {
		if !has[line] {
			t.Errorf("%s: got  %s", when, line)
		}
		delete(has, line)
	}
	for _, line := range want {
		if has[line] {
			t.Errorf("%s: want %s", when, line)
		}
	}
}
