//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

//go:embed enter.sh
var enterScript string

// The paths at which a command in a chroot sees folders of this machine.
const (
	binariesInside = "/gatepass"       // our binaries
	testsInside    = "/gatepass-tests" // test binaries with their testdata
)

// A chroot is a small Debian system of another release, in a folder of the cache.
type chroot struct {
	name     string   // name in the table
	suite    string   // the Debian release
	packages []string // packages that are installed; the table shows their versions
	helpers  []string // packages that are installed but not shown
	cache    cache
}

func (c chroot) Name() string { return c.name }

// key returns the name of the cache entry. It changes with everything that decides what
// is in the chroot, so that a changed recipe is set up again.
func (c chroot) key() string {
	recipe := sha256.Sum256(fmt.Appendln(nil, c.suite, runtime.GOARCH, c.packages, c.helpers, unneeded))
	return fmt.Sprintf("debian-%s-%s-%x", c.suite, runtime.GOARCH, recipe[:4])
}

func (c chroot) root() string { return filepath.Join(c.cache.path(c.key()), "root") }

// Find returns the versions recorded at set-up. It enters the chroot once, to check
// that this machine allows it.
func (c chroot) Find(ctx context.Context) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("needs root for a chroot; run the tests as root")
	}
	versions, err := os.ReadFile(filepath.Join(c.cache.path(c.key()), "versions"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("not set up yet; make test-real")
	}
	if err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp("", "gatepass-")
	if err != nil {
		return "", err
	}
	defer os.Remove(scratch)
	if _, err := output(c.command(ctx, entry{scratch: scratch}, "true")); err != nil {
		return "", fmt.Errorf("enter the chroot: %w", err)
	}
	return strings.TrimSpace(string(versions)), nil
}

// unneeded are files of packages that no test reads; without them a chroot is a third
// smaller.
var unneeded = []string{"/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*", "/usr/share/info/*"}

// SetUp fills the cache entry from the mirror that this machine's apt uses.
func (c chroot) SetUp(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root for a chroot; run the tests as root")
	}
	return c.cache.build(c.key(), func(dir string) error {
		root := filepath.Join(dir, "root")
		args, err := c.bootstrapArgs(ctx, root)
		if err != nil {
			return err
		}
		if err := bootstrap(ctx, filepath.Join(dir, "tmp"), args); err != nil {
			return err
		}
		versions, err := c.installed(ctx, root)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "versions"), []byte(versions+"\n"), 0o644)
	})
}

// bootstrap runs mmdebstrap with its temporary files in tmp, and removes tmp, because a
// killed mmdebstrap leaves them behind.
func bootstrap(ctx context.Context, tmp string, args []string) error {
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	cmd := confined(ctx, "mmdebstrap", args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	_, err := output(cmd)
	return errors.Join(err, os.RemoveAll(tmp))
}

// bootstrapArgs returns mmdebstrap's arguments for a chroot at target. It
// checks the archive's signature with Debian's keys, and leaves neither package
// lists nor downloaded packages behind.
func (c chroot) bootstrapArgs(ctx context.Context, target string) ([]string, error) {
	url, err := mirror(ctx)
	if err != nil {
		return nil, err
	}
	options, err := aptOptions(ctx)
	if err != nil {
		return nil, err
	}
	include := slices.Concat([]string{"ca-certificates"}, c.packages, c.helpers)
	args := []string{
		"--quiet", "--mode=root", "--format=directory", "--variant=minbase",
		"--include=" + strings.Join(include, ","),
	}
	for _, option := range options {
		args = append(args, "--aptopt="+option)
	}
	for _, pattern := range unneeded {
		args = append(args, "--dpkgopt=path-exclude="+pattern)
	}
	return append(args, c.suite, target, url), nil
}

// installed returns the versions of the packages that the chroot is for.
func (c chroot) installed(ctx context.Context, root string) (string, error) {
	args := []string{"--admindir=" + filepath.Join(root, "var/lib/dpkg"), "--show", "--showformat=${Package} ${Version}\n"}
	text, err := output(command(ctx, "dpkg-query", append(args, c.packages...)...))
	if err != nil {
		return "", err
	}
	var versions []string
	for line := range strings.Lines(text) {
		name, version, _ := strings.Cut(line, " ")
		versions = append(versions, name+" "+upstream(version))
	}
	return strings.Join(versions, ", "), nil
}

// upstream returns the version without Debian's additions: the epoch ("1:2.47.3-1"),
// the revision, and the mark of a changed source ("1.85.1+dfsg1-1").
func upstream(version string) string {
	version = strings.TrimSpace(version)
	if _, after, ok := strings.Cut(version, ":"); ok {
		version = after
	}
	if i := strings.LastIndexByte(version, '-'); i > 0 {
		version = version[:i]
	}
	version, _, _ = strings.Cut(version, "+d")
	return version
}

// An entry says how a command enters a chroot.
type entry struct {
	scratch  string   // empty folder of this machine to mount on
	dir      string   // working directory, as seen from inside; default /
	binaries string   // folder of this machine that appears at /gatepass, or empty
	tests    string   // folder of this machine that appears at /gatepass-tests, or empty
	env      []string // in addition to PATH, HOME and LANG
}

// command returns a command that runs in a temporary view of the chroot: it may write
// anywhere, and all its changes are discarded. It uses this machine's network.
func (c chroot) command(ctx context.Context, e entry, args ...string) *exec.Cmd {
	words := []string{"-c", enterScript, "enter.sh", c.root(), e.scratch}
	if e.binaries != "" {
		words = append(words, e.binaries, binariesInside)
	}
	if e.tests != "" {
		words = append(words, e.tests, testsInside)
	}
	words = append(words, "--", "/"+strings.TrimPrefix(e.dir, "/"))
	cmd := confined(ctx, "sh", append(words, args...)...)
	cmd.Env = append([]string{
		"PATH=" + binariesInside + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/tmp/home",
		"LANG=C.UTF-8",
	}, e.env...)
	return cmd
}
