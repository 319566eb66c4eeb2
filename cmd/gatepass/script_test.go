package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	// A workspace file that the group can write to is not trusted, and scripts write
	// theirs with the umask.
	syscall.Umask(syscall.Umask(0o077) | 0o022)
	testscript.Main(m, map[string]func(){"gatepass": main})
}

// TestScripts runs testdata/*.txtar with the git of this machine, with HOME in $WORK
// and a PATH of three directories: $WORK/bin with fake binaries, one with git, one with
// gatepass. A script chooses the version of git by its PATH: $OLD, $NEW and $BOTH
// instead of $PATH. Nothing else of the machine is used except /bin/sh.
func TestScripts(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on PATH")
	}
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasPrefix(filepath.Base(f), "doctor_") }) // see TestDoctor
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		Setup:               func(env *testscript.Env) error { return setUp(env, git) },
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

func setUp(env *testscript.Env, git string) error {
	gatepass, err := exec.LookPath("gatepass")
	if err != nil {
		return err
	}
	gits := map[string]string{
		"git-2.39": fakeVersion(git, "2.39.5"),
		"git-2.55": fakeVersion(git, "2.55.0"),
		"git":      "#!/bin/sh\nexec '" + git + "' \"$@\"\n",
	}
	for dir, text := range gits {
		if err := writeScript(filepath.Join(env.WorkDir, dir, "git"), text); err != nil {
			return err
		}
	}
	for _, name := range []string{"git-credential-gatepass", "gatepass-pre-push"} {
		if err := writeScript(filepath.Join(env.WorkDir, "bin", name), fakeHelper); err != nil {
			return err
		}
	}
	path := func(gits ...string) string {
		dirs := []string{filepath.Join(env.WorkDir, "bin")}
		for _, g := range gits {
			dirs = append(dirs, filepath.Join(env.WorkDir, g))
		}
		return strings.Join(append(dirs, filepath.Dir(gatepass)), string(filepath.ListSeparator))
	}
	env.Setenv("GOGC", os.Getenv("GOGC")) // "make test" sets it
	env.Setenv("PATH", path("git"))
	env.Setenv("OLD", path("git-2.39"))
	env.Setenv("NEW", path("git-2.55"))
	env.Setenv("BOTH", path("git-2.55", "git-2.39"))
	env.Setenv("GATEPASS", gatepass)
	env.Setenv("HELPER", helperOf(env.WorkDir, "bin"))
	env.Setenv("OTHER_HELPER", helperOf(env.WorkDir, "other"))
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("GIT_CONFIG_SYSTEM", filepath.Join(env.WorkDir, "system-gitconfig"))
	env.Setenv("GATEPASS_CONFIG", filepath.Join(env.WorkDir, "workspace.yaml"))
	if err := os.MkdirAll(filepath.Join(env.WorkDir, "home"), 0o755); err != nil {
		return err
	}
	return writeUnless(filepath.Join(env.WorkDir, "workspace.yaml"), "hosts: [github.com]\n")
}

// helperOf returns git's setting for the helper in a directory: quoted if the path has
// a blank, as a temporary directory may.
func helperOf(workDir, dir string) string {
	path := filepath.Join(workDir, dir, "git-credential-gatepass")
	if strings.Contains(path, " ") {
		return "/'" + path[1:] + "'"
	}
	return path
}

// exits runs a program that must end with an exact status: exits 2 gatepass x.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	status := 0
	if exit, ok := errors.AsType[*exec.ExitError](ts.Exec(args[1], args[2:]...)); ok {
		status = exit.ExitCode()
	}
	if neg || status != want {
		ts.Fatalf("exit status %d, want %d", status, want)
	}
}

// fakeHelper answers with its own path as the password.
const fakeHelper = "#!/bin/sh\necho username=x-access-token\necho \"password=$0 $*\"\n"

func fakeVersion(git, version string) string {
	return fmt.Sprintf("#!/bin/sh\nif [ \"$*\" = version ]; then echo git version %s; else exec '%s' \"$@\"; fi\n", version, git)
}

func writeScript(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o755)
}

// writeUnless writes a file unless the script has it.
func writeUnless(path, text string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
