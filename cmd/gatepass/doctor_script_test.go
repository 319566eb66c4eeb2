package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestDoctor runs testdata/doctor_*.txtar as TestScripts does, but with the real
// programs, a file as the source, and a runtime directory. $SKEWED is a host
// whose clock is an hour off, $REAL
// the directory of the programs. The command "findings N" says how many lines of
// the last stdout are not in order.
func TestDoctor(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not on PATH")
	}
	files, err := filepath.Glob("testdata/doctor_*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	bin := realPrograms(t)
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "findings": findings, "age": age, "own": own,
		},
		Condition: func(cond string) (bool, error) { return cond == "root" && os.Geteuid() == 0, nil },
		Setup: func(env *testscript.Env) error {
			if err := setUp(env, git); err != nil {
				return err
			}
			return setUpDoctor(env, bin)
		},
	})
}

// realPrograms returns a directory with what git runs: the one that
// binVariable names, or one built now.
func realPrograms(t *testing.T) string {
	if dir := os.Getenv(binVariable); dir != "" {
		return dir
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../git-credential-gatepass", "../gatepass-pre-push", "../gatepass-agent")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return dir
}

const healthyWorkspace = "source: file://$WORK/token\nrepos: [acme/widgets]\nrefs: [main, \"agent/**\"]\n"

func setUpDoctor(env *testscript.Env, bin string) error {
	for _, name := range []string{"git-credential-gatepass", "gatepass-pre-push", agent.Program} {
		link := filepath.Join(env.WorkDir, "bin", name)
		if err := os.RemoveAll(link); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(bin, name), link); err != nil {
			return err
		}
	}
	run, err := os.MkdirTemp("/tmp", "gp") // short: a socket's path is
	if err != nil {
		return err
	}
	workspace := filepath.Join(env.WorkDir, "workspace.yaml")
	env.Setenv("XDG_RUNTIME_DIR", run)
	env.Setenv("LANG", "C.UTF-8")
	env.Setenv("REAL", bin)
	env.Setenv("GATEPASS_DOCTOR_TIMEOUT", "20s") // a busy machine is no finding
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	env.Setenv("SKEWED", skewedHost(env))
	env.Defer(func() {
		stopAgents(run)
		_ = os.RemoveAll(run)
	})
	return writeSource(env, workspace)
}

// writeSource puts $WORK and $SKEWED into the script's workspace files, and
// writes a token where the script brings none.
func writeSource(env *testscript.Env, workspace string) error {
	text, err := os.ReadFile(workspace)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), "source:") {
		if err := os.WriteFile(workspace, []byte(healthyWorkspace), 0o644); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(env.WorkDir, "*.yaml"))
	if err != nil {
		return err
	}
	expand := strings.NewReplacer("$WORK", env.WorkDir, "$SKEWED", env.Getenv("SKEWED"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(expand.Replace(string(text))), 0o644); err != nil {
			return err
		}
		if err := os.Chmod(file, 0o644); err != nil { // testscript unpacks with other modes
			return err
		}
	}
	token := filepath.Join(env.WorkDir, "token")
	if err := writeUnless(token, "ghs_fresh\n"); err != nil {
		return err
	}
	return os.Chmod(token, 0o600)
}

func skewedHost(env *testscript.Env) string {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	}))
	env.Defer(s.Close)
	return s.Listener.Addr().String()
}

// findings counts the lines that are not in order. A file that is the tester's
// own instead of root's is no surprise.
func findings(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	n := 0
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		line = strings.TrimSpace(line)
		bad := strings.HasPrefix(line, "! ") || strings.HasPrefix(line, "✗ ")
		if bad && (os.Geteuid() == 0 || !strings.Contains(line, "is your own")) {
			n++
		}
	}
	if neg || n != want {
		ts.Fatalf("%d lines are not in order, want %d", n, want)
	}
}

// age DURATION FILE sets the time a file was written, so long ago.
func age(ts *testscript.TestScript, neg bool, args []string) {
	ago, err := time.ParseDuration(args[0])
	ts.Check(err)
	written := time.Now().Add(-ago)
	ts.Check(os.Chtimes(ts.MkAbs(args[1]), written, written))
}

// own UID FILE gives a file away.
func own(ts *testscript.TestScript, neg bool, args []string) {
	uid, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.Chown(ts.MkAbs(args[1]), uid, -1))
}
