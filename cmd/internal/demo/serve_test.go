package demo

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A served is a running "gatepass demo --serve".
type served struct {
	*visitor
	cmd    *exec.Cmd
	story  string // its output
	output *bytes.Buffer
}

func serve(t *testing.T) *served {
	v := newVisitor(t)
	cmd, _, errs := v.command("--serve")
	story := filepath.Join(v.tmp, "story")
	out, err := os.Create(story)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &served{visitor: v, cmd: cmd, output: errs}
	t.Cleanup(func() { s.end() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		data, err := os.ReadFile(story)
		if err != nil {
			t.Fatal(err)
		}
		if s.story = string(data); strings.Contains(s.story, "ctrl-C stops it and removes everything.") {
			return s
		}
		if time.Now().After(deadline) || syscall.Kill(cmd.Process.Pid, 0) != nil {
			t.Fatalf("it does not say that it runs: %s%s", s.story, errs)
		}
	}
}

// end stops it like a terminal, and returns the exit code.
func (s *served) end() int {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		_ = s.cmd.Wait() // the exit code shows it
	}
	return s.cmd.ProcessState.ExitCode()
}

var copied = regexp.MustCompile(`(?m)^  (\S.*)$`)

// try pastes the printed commands into one shell, and returns its output.
func (s *served) try() string {
	s.t.Helper()
	var script strings.Builder
	for _, c := range copied.FindAllStringSubmatch(s.story, -1) {
		script.WriteString("echo '$' \"$(cat <<'END'\n" + c[1] + "\nEND\n)\"\n" + c[1] + "\n")
	}
	sh := exec.CommandContext(s.t.Context(), "/bin/sh", "-c", script.String())
	sh.Dir, sh.Env = s.home, s.env
	out, _ := sh.CombinedOutput() // some commands are refused
	return string(out)
}

// TestServeHoldsWhatItPrints runs every command that a newcomer is told to try.
func TestServeHoldsWhatItPrints(t *testing.T) {
	if testing.Short() {
		t.Skip("plays the whole playground")
	}
	s := serve(t)
	_, err := exec.LookPath("curl")
	hasCurl := err == nil
	out := s.try()
	for _, want := range []struct {
		what, text string
		needsCurl  bool
	}{
		{"an allowed push arrives", "[new branch]      HEAD -> agent/try", false},
		{"the guard refuses main", "refs/heads/main denied: no rule allows it", false},
		{"a blocked workspace gets no token", "workspace " + workspaceID + " is blocked", true},
		{"the gateway refuses main", "[remote rejected] HEAD -> main (gatepass: no rule allows it (update))", false},
		{"the job has no token", "this workspace has none", false},
		{"a workspace is made", "workspace sb-2: ready", false},
		{"and destroyed", "workspace sb-2 is destroyed; nothing is left of it", false},
		{"the audit log tells of the push", `refs/heads/main`, false},
		{"the doctor finds nothing", "everything is in order", false},
	} {
		if (hasCurl || !want.needsCurl) && !strings.Contains(out, want.text) {
			t.Errorf("%s: %q is not in what the commands showed", want.what, want.text)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
	if code := s.end(); code != 0 {
		t.Errorf("it ended with %d: %s", code, s.output)
	}
	left, err := filepath.Glob(filepath.Join(s.tmp, "gatepass-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("it left %q, %v", left, err)
	}
	if entries, err := os.ReadDir(s.home); err != nil || len(entries) > 0 {
		t.Errorf("the home has %v, %v", entries, err)
	}
}

// brokerPID returns the process id of the broker with that configuration.
func (s *served) brokerPID(config string) int {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(config), "broker.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 2 {
		s.t.Fatalf("broker.pid has %q", text)
	}
	return pid
}

// TestServeEndsWithItsBroker: a playground that runs on without a broker would look
// alive.
func TestServeEndsWithItsBroker(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the playground")
	}
	s := serve(t)
	config, err := filepath.Glob(filepath.Join(s.tmp, "gatepass-demo-*/home/broker.yaml"))
	if err != nil || len(config) != 1 {
		t.Fatal(config, err)
	}
	if err := syscall.Kill(s.brokerPID(config[0]), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	if code := s.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(s.output.String(), "gatepass-broker exited") {
		t.Errorf("it ended with %d: %s", code, s.output)
	}
	if _, err := os.Stat(filepath.Dir(config[0])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left its folder: %v", err)
	}
}
