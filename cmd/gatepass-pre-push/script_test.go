package main

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gatepass/gatepass/hooks"
	"github.com/rogpeppe/go-internal/testscript"
)

// binVariable names a directory of built binaries to test instead of this
// package compiled into the test.
const binVariable = "GATEPASS_TEST_BIN_DIR"

func TestMain(m *testing.M) {
	// A workspace file that the group can write to is not trusted, and scripts write
	// theirs with the umask.
	syscall.Umask(syscall.Umask(0o077) | 0o022)
	commands := map[string]func(){"gatepass-pre-push": main}
	for _, event := range hooks.Shimmed {
		commands[event] = main // a link to this test
	}
	if os.Getenv(binVariable) != "" {
		commands = nil
	}
	testscript.Main(m, commands)
}

// scripts are embedded, so that the compiled test runs anywhere.
//
//go:embed testdata
var scripts embed.FS

func TestScripts(t *testing.T) {
	version := gitVersion(t)
	t.Logf("git %d.%d", version[0], version[1])
	testscript.Run(t, testscript.Params{
		Dir:   unpack(t),
		Setup: setup,
		Condition: func(cond string) (bool, error) {
			var want [2]int
			if _, err := fmt.Sscanf(cond, "git:%d.%d", &want[0], &want[1]); err != nil {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return version[0] > want[0] || version[0] == want[0] && version[1] >= want[1], nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"shim": shim, "lines": lines},
	})
}

// gitVersion reads "git version 2.39.5 (…)".
func gitVersion(t *testing.T) (version [2]int) {
	out, err := exec.Command("git", "version").Output()
	if err != nil {
		t.Skipf("git cannot be run: %v", err)
	}
	m := regexp.MustCompile(`(\d+)\.(\d+)`).FindStringSubmatch(string(out))
	if m == nil {
		t.Fatalf("git version = %q, want a version", out)
	}
	version[0], _ = strconv.Atoi(m[1])
	version[1], _ = strconv.Atoi(m[2])
	return version
}

func unpack(t *testing.T) string {
	files, err := fs.Sub(scripts, "testdata")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	return dir
}

// setup gives every script a home with the guard installed for all of git, a policy
// that no one else can write to, and an ssh to github.com, because a push to a path is
// not checked.
func setup(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	settings := strings.Join([]string{
		"[user]", "name = Test", "email = test@example.com",
		"[init]", "defaultBranch = main",
		"[core]", "hooksPath = " + filepath.Join(home, "hooks"),
		"sshCommand = " + filepath.Join(home, "ssh"),
		"[protocol \"file\"]", "allow = always",
		"[advice]", "detachedHead = false", "",
	}, "\n")
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(settings), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, "ssh"), []byte(ssh), 0o755); err != nil {
		return err
	}
	policy := filepath.Join(env.WorkDir, "workspace.yaml")
	if _, err := os.Stat(policy); err == nil {
		if err := os.Chmod(policy, 0o644); err != nil {
			return err
		}
	}
	if dir := os.Getenv(binVariable); dir != "" {
		env.Setenv("PATH", strings.Join([]string{dir, home, env.Getenv("PATH")}, string(os.PathListSeparator)))
		if err := os.Symlink(filepath.Join(dir, "gatepass-pre-push"), filepath.Join(home, "pre-rebase")); err != nil {
			return err
		}
	}
	env.Setenv("HOME", home)
	env.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	env.Setenv("GATEPASS_CONFIG", policy)
	env.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise every hook of a -race test waits a second
	env.Setenv("ZERO", strings.Repeat("0", 40))
	return writeShims(env, filepath.Join(home, "hooks"), hooks.Shimmed)
}

// ssh runs the command for the other side on this machine, below the script's
// directory.
const ssh = `#!/bin/sh
for command; do :; done
cd "$WORK" && exec sh -c "$command"
`

func writeShims(env *testscript.Env, dir string, events []string) error {
	binary, err := find(env.Getenv("PATH"))
	if err != nil {
		return err
	}
	env.Setenv("GUARD", binary)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, event := range events {
		shim, path := hooks.Shim{Guard: binary, Event: event}, filepath.Join(dir, event)
		if shim.Link() {
			err = os.Symlink(binary, path)
		} else {
			err = os.WriteFile(path, []byte(shim.Text()), 0o755)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func find(path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		binary := filepath.Join(dir, "gatepass-pre-push")
		if _, err := os.Stat(binary); err == nil {
			return binary, nil
		}
	}
	return "", fmt.Errorf("no gatepass-pre-push in %s", path)
}

// shim DIR EVENT writes a file whose content calls the guard.
func shim(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: shim DIR EVENT")
	}
	binary, err := find(ts.Getenv("PATH"))
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), args[1]), []byte(hooks.Shim{Guard: binary, Event: args[1]}.Text()), 0o755))
}

// lines COUNT TEXT checks how many lines of the last stderr contain the text.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines COUNT TEXT")
	}
	count := 0
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		if strings.Contains(line, args[1]) {
			count++
		}
	}
	if fmt.Sprint(count) != args[0] {
		ts.Fatalf("%d lines of stderr hold %q, want %s", count, args[1], args[0])
	}
}
