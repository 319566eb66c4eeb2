//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const verbose = `=== RUN   TestPush
=== RUN   TestPush/main
=== RUN   TestPush/lfs
    push_test.go:12: missing: git-lfs
=== NAME  TestPush
    push_test.go:20: remote: missing: not a skip
--- PASS: TestPush (0.10s)
    --- PASS: TestPush/main (0.05s)
    --- SKIP: TestPush/lfs (0.00s)
=== RUN   TestRoot
    push_test.go:30: needs root
--- SKIP: TestRoot (0.00s)
PASS
`

func TestParseResult(t *testing.T) {
	got := parseResult(verbose)
	want := result{passed: 2, skipped: 2, missing: []string{"TestPush/lfs: missing: git-lfs"}}
	if got.passed != want.passed || got.skipped != want.skipped || !slices.Equal(got.missing, want.missing) {
		t.Errorf("parseResult = %+v, want %+v", got, want)
	}
}

func FuzzParseResult(f *testing.F) {
	f.Add(verbose)
	f.Add("--- PASS: \n    x.go:1: missing: ")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		if r := parseResult(text); r.passed+r.skipped > lines || len(r.missing) > lines {
			t.Errorf("parseResult(%q) = %+v, more than its %d lines", text, r, lines)
		}
	})
}

// newTestStage returns a stage with one file for a binary. The test is skipped
// where commands cannot be confined.
func newTestStage(t *testing.T) stage {
	t.Helper()
	if os.Geteuid() == 0 {
		if _, err := output(confined(t.Context(), "true")); err != nil {
			t.Skip("missing: the right to unshare: ", err)
		}
	}
	module, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := newStage(module)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.remove() })
	if err := os.WriteFile(filepath.Join(s.bin(), "gatepass"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRunnerRunsTheProbeOnThisMachine(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("missing: git")
	}
	var out bytes.Buffer
	r := &runner{
		stage:  newTestStage(t),
		places: []place{{name: systemGitComponent}, {name: "absent", chroot: &chroot{}}},
		absent: map[string]bool{"absent": true, chromiumComponent: true},
		out:    &out,
	}
	probe := suite{pattern: "./test/components/testdata/probe", gits: everyGit}
	needsAWS := probe
	needsAWS.aws, needsAWS.gits = true, systemGit
	needsBrowser := suite{pattern: probe.pattern, browser: true}
	nowhere := suite{pattern: "./test/components/testdata/nowhere"}
	if err := r.run(t.Context(), []suite{probe, needsAWS, needsBrowser, nowhere}); err != nil {
		t.Fatal(err)
	}
	r.summary()
	if !strings.HasSuffix(out.String(), "\n1 passed, 1 failed, 3 skipped\n") {
		t.Errorf("summary of\n%s\nwant 1 passed, 1 failed, 3 skipped", out.String())
	}
	if !strings.Contains(out.String(), "TestAWSAnswers: missing: the AWS emulator") {
		t.Errorf("summary of\n%s\nwant it to list the test that skipped", out.String())
	}
}

func TestSuitesThatRunInParallelCopyTestdataOnce(t *testing.T) {
	module := t.TempDir()
	for i := range 500 {
		write(t, module, fmt.Sprintf("testdata/%d", i), "text")
	}
	stage := newTestStage(t)
	stage.module = module

	var group errgroup.Group
	for range 8 {
		group.Go(func() error { return stage.copyTestdata(".") })
	}
	if err := group.Wait(); err != nil {
		t.Errorf("copy one package's testdata 8 times at once: %v", err)
	}
}

// write writes a file of a module, and makes its folder.
func write(t *testing.T, module, file, text string) {
	t.Helper()
	path := filepath.Join(module, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRunnerStopsWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	r := &runner{stage: newTestStage(t), places: []place{{name: systemGitComponent}}, out: &out}
	p := testPackage{dir: "test/components/testdata/probe"}
	if err := r.runPackage(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("runPackage = %v, want %v", err, context.Canceled)
	}
}

func TestCommandEndsWithItsGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := command(ctx, "sh", "-c", "sleep 600 & echo $!; wait")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	group := cmd.Process.Pid
	cancel()
	cmd.Wait()
	// The sleep is collected by the process that adopts it; until then it belongs to
	// the group.
	for deadline := time.Now().Add(time.Minute); groupRuns(t, group); {
		if time.Now().After(deadline) {
			t.Fatal("a member of the group still runs after its context ended")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// groupRuns reports whether a process of the group is there that is not a
// zombie.
func groupRuns(t *testing.T, group int) bool {
	t.Helper()
	if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
		return false
	}
	states, err := exec.CommandContext(t.Context(), "ps", "-o", "stat=", "-g", strconv.Itoa(group)).Output()
	if err != nil {
		return false // ps found none
	}
	for state := range strings.FieldsSeq(string(states)) {
		if !strings.HasPrefix(state, "Z") {
			return true
		}
	}
	return false
}

func TestReady(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	running, ended := make(chan struct{}), make(chan struct{})
	close(ended)
	if err := ready(t.Context(), loopback(nil), server.URL, running); err != nil {
		t.Errorf("ready with an answer = %v, want nil", err)
	}
	if err := ready(t.Context(), loopback(nil), server.URL, ended); err == nil {
		t.Error("ready of a process that ended = nil, want an error: another one answers")
	}
}

func TestExitCode(t *testing.T) {
	if code, err := exitCode(exec.CommandContext(t.Context(), "sh", "-c", "exit 7").Run()); code != 7 || err != nil {
		t.Errorf("exitCode(exit 7) = %d, %v, want 7", code, err)
	}
	if code, err := exitCode(exec.CommandContext(t.Context(), "/nonexistent").Run()); code != 1 || err == nil {
		t.Errorf("exitCode(no such program) = %d, %v, want 1 and an error", code, err)
	}
}
