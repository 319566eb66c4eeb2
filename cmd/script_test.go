//go:build linux

package cmd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/memory"
	"github.com/rogpeppe/go-internal/testscript"
)

const (
	// binVariable names a directory with built programs; without it the test builds
	// them as they are released.
	binVariable = "GATEPASS_TEST_BIN_DIR"

	buildTimeout = 9 * time.Minute
	scriptFolder = "../testdata/script"
)

// TestScripts runs the scripts of testdata/script: the built programs under the git of
// this machine, against a GitHub on loopback. In addition to testscript's own commands,
// scripts can use those of [commands]; for their conditions see [condition].
func TestScripts(t *testing.T) {
	if testing.Short() && os.Getenv(binVariable) == "" {
		t.Skip("builds the programs")
	}
	version, err := exec.Command("git", "version").Output()
	if err != nil {
		t.Skipf("missing: git: %v", err)
	}
	t.Logf("%s", version)
	// gatepass does not trust a workspace file that the group can write to, and scripts
	// create theirs by the umask.
	syscall.Umask(syscall.Umask(0o077) | 0o022)
	root := scratch(t)
	bin := programs(t, root)
	testscript.Run(t, testscript.Params{
		Dir:                 scriptFolder,
		WorkdirRoot:         root,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return setUp(env, bin, root) },
		Cmds:                commands,
		Condition:           func(c string) (bool, error) { return condition(c, string(version)) },
	})
}

// scratch returns a path that is short, because sockets are created in it, and that
// other users may enter, because one script runs as another user.
func scratch(t *testing.T) string {
	root, err := os.MkdirTemp("", "gp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// programs returns the directory of the built programs.
func programs(t *testing.T, root string) string {
	if dir := os.Getenv(binVariable); dir != "" {
		return dir
	}
	dir := filepath.Join(root, "bin")
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "./...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return dir
}

// condition knows "git:MAJOR.MINOR", which is true for that git and newer ones,
// "cargo", "cargo:MAJOR.MINOR", "root", "mount", the right to mount, and "core", a
// machine that writes core files.
func condition(c, gitVersion string) (bool, error) {
	name, want, versioned := strings.Cut(c, ":")
	switch {
	case c == "root":
		return os.Geteuid() == 0, nil
	case c == "mount":
		return exec.Command("unshare", "--mount", "true").Run() == nil, nil
	case c == "core":
		return memory.Missing() == nil, nil
	case c == "node":
		_, err := exec.LookPath("node")
		return err == nil, nil
	case c == "isomorphic-git":
		return os.Getenv("GATEPASS_TEST_ISOMORPHIC_GIT") != "", nil
	case c == "pygit2": // Debian's package; another Python in PATH does not have it
		return exec.Command("/usr/bin/python3", "-c", "import pygit2").Run() == nil, nil
	case c == "cargo":
		return cargoVersion() != "", nil
	case name == "cargo" && versioned:
		return atLeast(cargoVersion(), "cargo %d.%d", want)
	case name == "git" && versioned:
		return atLeast(gitVersion, "git version %d.%d", want)
	}
	return false, fmt.Errorf("unknown condition %q", c)
}

// atLeast compares the version that a program prints, in its format, with
// "MAJOR.MINOR".
func atLeast(says, format, want string) (bool, error) {
	var major, minor, wantMajor, wantMinor int
	if _, err := fmt.Sscanf(says, format, &major, &minor); err != nil {
		return false, fmt.Errorf("%q: %w", says, err)
	}
	if _, err := fmt.Sscanf(want, "%d.%d", &wantMajor, &wantMinor); err != nil {
		return false, fmt.Errorf("version %q: %w", want, err)
	}
	return major > wantMajor || major == wantMajor && minor >= wantMinor, nil
}

// defaultWorkspace is for scripts that have no workspace.yaml.
const defaultWorkspace = "workspace: sb-1\nhosts: [\"$GITHUB\"]\nsource: file://$WORK/token\nrefs: [main, \"agent/**\"]\n"

const gitConfig = `[user]
	name = Test
	email = test@example.com
[init]
	defaultBranch = main
[advice]
	detachedHead = false
[http]
	sslCAInfo = %s
	sslCAPath = %s
[gc]
	auto = 0
[maintenance]
	auto = false
`

// setUp gives a script a GitHub, a home, a runtime directory and a workspace file of
// its own. The script sees nothing of the user's configuration or environment.
func setUp(env *testscript.Env, bin, root string) error {
	run, err := os.MkdirTemp(root, "r")
	if err != nil {
		return err
	}
	w := &world{work: env.WorkDir, run: run, bin: bin, tokens: map[string]string{}, installed: map[string]int64{}}
	env.Values[worldKey] = w
	env.Defer(func() { w.end(env.T()) })
	vars := map[string]string{
		"PATH": bin + string(filepath.ListSeparator) + env.Getenv("PATH"),
		"HOME": filepath.Join(env.WorkDir, "home"), "XDG_RUNTIME_DIR": run,
		"RUN": run, "BIN": bin, "CA": filepath.Join(env.WorkDir, "ca.pem"),
		"BROKER":              "broker+unix://" + filepath.Join(run, "broker.sock"),
		"GATEPASS_CONFIG":     filepath.Join(env.WorkDir, "workspace.yaml"),
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": "",
		"LC_ALL": "C",
	}
	vars["ISOMORPHIC_GIT"] = os.Getenv("GATEPASS_TEST_ISOMORPHIC_GIT")
	if toolchains := rustupHome(); toolchains != "" {
		vars["RUSTUP_HOME"] = toolchains // cargo may be rustup's, which looks for toolchains in HOME
	}
	for key, value := range vars {
		env.Setenv(key, value)
	}
	if err := os.MkdirAll(env.Getenv("HOME"), 0o755); err != nil {
		return err
	}
	// Without an empty folder git reads all authorities of the system in each process.
	none := filepath.Join(root, "none")
	if err := os.MkdirAll(none, 0o755); err != nil {
		return err
	}
	config := fmt.Sprintf(gitConfig, env.Getenv("CA"), none)
	if err := os.WriteFile(filepath.Join(env.Getenv("HOME"), ".gitconfig"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := w.startGitHubs(env.Setenv); err != nil {
		return err
	}
	return writeWorkspace(env)
}

// cargoVersion returns the version that cargo prints for a user with a new HOME:
// Debian's cargo, or the first in PATH if Debian's is not installed. It is empty
// without a cargo that works; rustup's may be installed without a toolchain.
var cargoVersion = sync.OnceValue(func() string {
	cmd := exec.Command("env", "cargo", "--version") // env looks in the PATH it is given
	cmd.Env = []string{"PATH=/usr/bin:" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "RUSTUP_HOME=" + rustupHome()}
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
})

// rustupHome returns the folder of rustup's toolchains; empty without rustup.
func rustupHome() string {
	dir := os.Getenv("RUSTUP_HOME")
	if home, err := os.UserHomeDir(); dir == "" && err == nil {
		dir = filepath.Join(home, ".rustup")
	}
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// writeWorkspace fills in $NAME in the script's workspace.yaml, or writes a default
// one.
func writeWorkspace(env *testscript.Env) error {
	path := env.Getenv("GATEPASS_CONFIG")
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		text, err = []byte(defaultWorkspace), nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(os.Expand(string(text), env.Getenv)), 0o644)
}
