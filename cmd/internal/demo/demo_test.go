package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// binVariable names a folder of built programs to run instead of building them.
const binVariable = "GATEPASS_TEST_BIN_DIR"

// promises is the number of checks of a complete run.
const promises = 16

var binDir string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if binDir = os.Getenv(binVariable); binDir != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "gatepass-bin-")
	if err == nil {
		defer os.RemoveAll(dir)
		binDir = dir
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(dir string) error {
	args := []string{"build", "-o", dir + "/"}
	for _, name := range append([]string{"gatepass-broker"}, programs...) {
		args = append(args, "../../"+name)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// A visitor is a new user: an empty home and an empty temporary folder, both with
// blanks in their names. The path of the latter is short enough for sockets.
type visitor struct {
	t         *testing.T
	home, tmp string
	bin       string
	env       []string
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skipf("missing: git: %v", err)
	}
	dir, err := os.MkdirTemp("/tmp", "gp test ")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	v := &visitor{t: t, home: dir + "/a home", tmp: dir + "/a tmp", bin: binDir}
	for _, d := range []string{v.home, v.tmp} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	v.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + v.home, "TMPDIR=" + v.tmp}
	return v
}

func (v *visitor) command(args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	v.t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, filepath.Join(v.bin, "gatepass"), append([]string{"demo"}, args...)...)
	cmd.Env = v.env
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// run runs gatepass demo, which must exit with the status.
func (v *visitor) run(status int, args ...string) (stdout, stderr string) {
	v.t.Helper()
	cmd, out, errs := v.command(args...)
	_ = cmd.Run() // the status shows it
	if got := cmd.ProcessState.ExitCode(); got != status {
		v.t.Fatalf("gatepass demo %q: exit status %d, want %d\n%s%s", args, got, status, out, errs)
	}
	return out.String(), errs.String()
}

// report runs gatepass demo --json.
func (v *visitor) report(status int, args ...string) (r Report, stderr string) {
	v.t.Helper()
	out, stderr := v.run(status, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		v.t.Fatalf("gatepass demo --json printed %q: %v", out, err)
	}
	return r, stderr
}

// nothingLeft checks that no files and processes are left.
func (v *visitor) nothingLeft() {
	v.t.Helper()
	for _, dir := range []string{v.home, v.tmp} {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) > 0 {
			v.t.Errorf("in %s is %v, %v, want nothing", dir, entries, err)
		}
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left := running(v.tmp)
		if len(left) == 0 {
			return
		}
		if time.Now().After(until) {
			v.t.Errorf("still running: %q", left)
			return
		}
	}
}

// running lists the command lines that contain a folder, on Linux.
func running(dir string) []string {
	var list []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte(dir)) {
			list = append(list, string(bytes.ReplaceAll(text, []byte{0}, []byte{' '})))
		}
	}
	return list
}

// broken lists the checks that failed.
func broken(r Report) []string {
	var list []string
	for _, c := range r.Checks {
		if !c.OK {
			list = append(list, c.Name)
		}
	}
	return list
}

func TestDemoTellsTheWholeStory(t *testing.T) {
	v := newVisitor(t)
	out, stderr := v.run(0)
	if stderr != "" {
		t.Errorf("stderr = %q, want nothing", stderr)
	}
	for _, want := range []string{
		"$ gatepass install --global",
		"$ git clone https://localhost:",
		"refs/heads/main denied: no rule allows it (update); allowed: agent/**",
		"acme/payroll is not in this",
		fmt.Sprintf("%d of %[1]d checks passed.", promises),
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the story lacks %q:\n%s", want, out)
		}
	}
	if got := strings.Count(out, "\nok "); got != promises {
		t.Errorf("%d checks are ok, want %d", got, promises)
	}
	for _, bad := range []string{"\x1b", "ghs_", "FAILED"} {
		if strings.Contains(out, bad) {
			t.Errorf("the story has %q:\n%s", bad, out)
		}
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
			t.Errorf("%q has %d columns, want at most %d", line, n, width)
		}
	}
	v.nothingLeft()
}

func TestDemoPrintsJSONAndKeepsItsFolder(t *testing.T) {
	if testing.Short() {
		t.Skip("plays the whole demo once more")
	}
	v := newVisitor(t)
	r, _ := v.report(0, "--keep")
	if !r.OK || len(r.Checks) != promises || len(broken(r)) > 0 || r.Tokens != 4 || r.Requests == 0 || r.Git == "" {
		t.Errorf("report = %+v, want %d checks that hold and 4 tokens", r, promises)
	}
	if filepath.Dir(r.Scratch) != v.tmp {
		t.Errorf("scratch = %q, want it in %q", r.Scratch, v.tmp)
	}
	if _, err := os.Stat(filepath.Join(r.Scratch, "home", "widgets", ".git")); err != nil {
		t.Errorf("the clone was not kept: %v", err)
	}
	if err := os.RemoveAll(r.Scratch); err != nil {
		t.Fatal(err)
	}
	v.nothingLeft()
}

// A guard that lets everything through must not count as working.
func TestDemoFailsWithABrokenGuard(t *testing.T) {
	if testing.Short() {
		t.Skip("plays the whole demo once more")
	}
	v := newVisitor(t)
	v.bin = t.TempDir()
	for _, name := range append([]string{"gatepass-broker"}, programs...) {
		to := filepath.Join(v.bin, name)
		// In another process: a child that this process forks meanwhile would hold the
		// copy open for writing, and it could not be started.
		if err := exec.Command("cp", filepath.Join(binDir, name), to).Run(); err != nil {
			t.Fatal(err)
		}
	}
	guard := filepath.Join(v.bin, "gatepass-pre-push")
	if err := exec.Command("/bin/sh", "-c", `rm "$1" && printf '#!/bin/sh\nexit 0\n' >"$1" && chmod 755 "$1"`, "sh", guard).Run(); err != nil {
		t.Fatal(err)
	}
	r, stderr := v.report(1)
	if got := broken(r); r.OK || len(got) != 1 || !strings.HasPrefix(got[0], "git push to main is refused") {
		t.Errorf("broken = %q, want the refused push", got)
	}
	if want := "gatepass: run the demo: a check failed; see the list of checks\n"; stderr != want {
		t.Errorf("stderr = %q, want %q", stderr, want)
	}
	v.nothingLeft()
}

func TestDemoCleansUpWhenInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("plays the demo several times")
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			v := newVisitor(t)
			cmd, _, stderr := v.command()
			cmd.Stdout = nil
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var once sync.Once
			story := readUntil(out, "git fetch", func() { once.Do(func() { _ = cmd.Process.Signal(signal) }) })
			_ = cmd.Wait() // the status shows it
			if code := cmd.ProcessState.ExitCode(); code != 1 || stderr.String() != "gatepass: run the demo: it was interrupted\n" {
				t.Errorf("exit status %d, stderr %q, want 1 and one line\n%s", code, stderr, story)
			}
			v.nothingLeft()
		})
	}
}

// readUntil reads to the end and calls found when the text appears.
func readUntil(r io.Reader, text string, found func()) string {
	var all []byte
	buf := make([]byte, 256)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if bytes.Contains(all, []byte(text)) {
			found()
		}
		if err != nil {
			return string(all)
		}
	}
}

// A reader that stops early, such as head, must not leave anything behind.
func TestDemoCleansUpWhenItsReaderLeaves(t *testing.T) {
	v := newVisitor(t)
	cmd, _, _ := v.command()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	_, _ = io.ReadFull(r, make([]byte, 400))
	r.Close()
	_ = cmd.Wait() // the status shows it
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	v.nothingLeft()
}

func TestDemoSaysWhatItLacks(t *testing.T) {
	v := newVisitor(t)
	v.env[0] = "PATH=" + v.home
	if _, stderr := v.run(1); stderr != "gatepass: run the demo: git is not on PATH; install git\n" {
		t.Errorf("stderr without git = %q", stderr)
	}
	_, err := Run(t.Context(), Options{BinDir: v.home, Path: os.Getenv("PATH")})
	if want := "gatepass is not in " + v.home; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Run without programs = %v, want it to say %q", err, want)
	}
	v.nothingLeft()
}

// Failures are reported, and the rest of the demo goes on.
func TestRunReportsWhatDoesNotHold(t *testing.T) {
	if testing.Short() {
		t.Skip("plays the demo several times")
	}
	newVisitor(t)
	broke := map[string]func(*demo){
		"owner": func(d *demo) { _ = d.github.Suspend(d.github.globex.ID, true) },
		"issue": func(d *demo) { _ = d.github.Suspend(d.github.globex.ID, false) },
		"secrets": func(d *demo) {
			_ = os.WriteFile(filepath.Join(d.home, "leak"), []byte(d.source.all()[0].token.Secret()), 0o600)
		},
	}
	var story strings.Builder
	r, err := Run(t.Context(), Options{BinDir: binDir, Path: os.Getenv("PATH"), Story: &story, before: func(d *demo, id string) {
		if f := broke[id]; f != nil {
			f(d)
		}
	}})
	want := []string{
		"a second owner's repository comes with a token of its own installation",
		"no token is in a file of the workspace or in the output",
	}
	if got := broken(r); !errors.Is(err, ErrBroken) || r.OK || !slices.Equal(got, want) {
		t.Errorf("Run = %q, %v, want %q to be broken\n%s", got, err, want, &story)
	}
	if !strings.Contains(story.String(), "FAILED  "+want[0]) || !strings.Contains(story.String(), fmt.Sprintf("%d of %d checks passed.", promises-len(want), promises)) {
		t.Errorf("the story does not say what failed:\n%s", &story)
	}
}
