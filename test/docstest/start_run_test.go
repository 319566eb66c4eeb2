package docstest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// play does what a reader does with a page: it writes the files and runs the commands, in
// their order.
func (s *stage) play(steps []step) {
	s.t.Helper()
	for _, st := range steps {
		switch {
		case st.runBy != "":
		case st.file != "" && st.notRun == "":
			s.write(st)
		case st.isShell():
			s.commands(st)
		case st.language == "text":
			s.compare(st)
		}
		if s.t.Failed() {
			return
		}
	}
}

// project is the folder in which a reader begins.
func (s *stage) project() string { return filepath.Join(s.dir, "home/work") }

// write makes a file of a block. A path that is not absolute is in the project's folder.
func (s *stage) write(st step) {
	s.t.Helper()
	path, text := s.here.Replace(st.file), s.here.Replace(st.text)
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.project(), path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.check(st, path)
}

// check has gatepass read a file that is one of its own.
func (s *stage) check(st step, path string) {
	s.t.Helper()
	name := filepath.Base(path)
	if name != "broker.yaml" && name != "workspace.yaml" && !strings.HasSuffix(name, ".profile.yaml") && name != "codespace.yaml" {
		return
	}
	if out, code := s.sh("gatepass check " + path); code != 0 {
		s.t.Errorf("%s: gatepass check %s: %s", st.page, st.file, out)
	}
}

// commands runs a block, or what is run instead.
func (s *stage) commands(st step) {
	s.t.Helper()
	text := st.text
	if st.notRun != "" {
		s.notRun++
		if text = st.instead; text == "" {
			return
		}
	} else {
		s.ran++
	}
	out, code := s.sh(s.here.Replace(text))
	s.output = out
	if (code != 0) != st.refused {
		s.t.Errorf("%s: exit code %d, refused %v:\n%s\n%s\n%s", st.page, code, st.refused, text, out, s.brokerLog())
	}
	if strings.Contains(text, "gatepass-broker --config") {
		s.await()
	}
}

// compare looks for the lines of a text in what the last commands showed.
func (s *stage) compare(st step) {
	s.t.Helper()
	for line := range strings.Lines(s.here.Replace(st.text)) {
		if !strings.Contains(s.output, strings.TrimSpace(line)) {
			s.t.Errorf("%s: %q is not in what was shown:\n%s", st.page, line, s.output)
		}
	}
}

// sh runs commands where the last ones ended: in their folder, with their variables.
// What they leave running is ended with the stage.
func (s *stage) sh(text string) (output string, code int) {
	s.t.Helper()
	state, said := filepath.Join(s.dir, "state"), filepath.Join(s.dir, "said")
	script := fmt.Sprintf("[ ! -e %s ] || . %[1]s\ncd %s\nset -e\ntrap 'code=$?; pwd >%[1]s.pwd; export -p >%[1]s; exit $code' EXIT\n%[3]s", state, s.cwd, text)
	out, err := os.Create(said)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.groups = append(s.groups, cmd.Process.Pid)
	_ = cmd.Wait() // its code is returned
	if cwd, err := os.ReadFile(state + ".pwd"); err == nil {
		s.cwd = strings.TrimSpace(string(cwd))
	}
	shown, err := os.ReadFile(said)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(shown), cmd.ProcessState.ExitCode()
}

// await returns when the broker listens: a reader is slower than it.
func (s *stage) await() {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", s.broker, time.Second)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the broker does not listen: %v\n%s", err, s.output)
		}
	}
}

func (s *stage) brokerLog() string {
	data, err := os.ReadFile(filepath.Join(s.dir, "log/audit.jsonl"))
	if err != nil {
		return ""
	}
	return string(data)
}

// close ends what was started.
func (s *stage) close() {
	s.sh("gatepass agent stop || :")
	for _, g := range s.groups {
		_ = syscall.Kill(-g, syscall.SIGTERM) // most have ended
	}
	for _, g := range s.groups {
		for deadline := time.Now().Add(10 * time.Second); syscall.Kill(-g, 0) == nil && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		_ = syscall.Kill(-g, syscall.SIGKILL)
	}
	if s.github != nil {
		_ = s.github.Close()
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Error(err)
	}
}

// programs are those of "make build", or are built.
func programs(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("GATEPASS_TEST_BIN_DIR"); dir != "" {
		return dir
	}
	t.Skip("missing: the programs (make test sets GATEPASS_TEST_BIN_DIR)")
	return ""
}
