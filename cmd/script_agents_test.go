//go:build linux

package cmd_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/rogpeppe/go-internal/testscript"
)

const (
	// settleWait bounds how long it may take until the number of agents is as wanted:
	// an agent that has lost its socket notices within a second.
	settleWait = time.Minute
	stopWait   = 30 * time.Second
)

// A process is a running agent of one script, known by the workspace file that it
// was started for.
type process struct {
	id     int
	config string
}

// running lists the script's agents. Of a process that cannot be debugged, such as an
// agent, its own user can read only the command line.
func (w *world) running() []process {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	var list []process
	for _, entry := range entries {
		text, _ := os.ReadFile(entry + "/cmdline")
		cmd := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
		config := cmd[len(cmd)-1] // after --config
		if filepath.Base(cmd[0]) != agent.Program || !strings.HasPrefix(config, w.work+"/") {
			continue
		}
		id, _ := strconv.Atoi(filepath.Base(entry))
		list = append(list, process{id, config})
	}
	return list
}

// stop asks an agent to end, in its own environment. If that environment is not
// readable, it sends a signal.
func (p process) stop() error {
	_ = syscall.Kill(p.id, syscall.SIGCONT) // for a script that failed after signal STOP
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.id))
	if errors.Is(err, fs.ErrPermission) {
		return p.kill(syscall.SIGTERM)
	}
	env := map[string]string{}
	for pair := range strings.SplitSeq(string(environ), "\x00") {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	getenv := func(name string) string { return env[name] }
	_, _, err = agent.AskRunning(agent.Call{Operation: agent.Stop, Config: p.config}, getenv, time.Now().Add(stopWait))
	return err
}

// kill sends a signal to an agent, unless it has ended already.
func (p process) kill(s syscall.Signal) error {
	if err := syscall.Kill(p.id, s); err != syscall.ESRCH {
		return err
	}
	return nil
}

// stopAgents ends the script's agents and waits until they are gone.
func (w *world) stopAgents() error {
	for _, p := range w.running() {
		if err := p.stop(); err != nil {
			return fmt.Errorf("stop agent %d: %w", p.id, err)
		}
	}
	if left := w.await(0); left != 0 {
		return fmt.Errorf("%d agents are left after they were stopped", left)
	}
	return nil
}

// await waits until the number of agents is as wanted, and returns the last number.
func (w *world) await(want int) (got int) {
	for until := time.Now().Add(settleWait); ; time.Sleep(10 * time.Millisecond) {
		if got = len(w.running()); got == want || time.Now().After(until) {
			return got
		}
	}
}

// agents COUNT checks how many agents of this script run; "agents stop" ends
// them.
func (w *world) agents(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1, "agents COUNT or agents stop")
	if args[0] == "stop" {
		ts.Check(w.stopAgents())
		return
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := w.await(want); got != want {
		ts.Fatalf("%d agents run, want %d", got, want)
	}
}

// signal NAME sends TERM or KILL to this script's agents and waits for their end, or
// sends STOP or CONT and does not wait.
func (w *world) signal(ts *testscript.TestScript, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
	usage(ts, len(args) == 1 && signals[args[0]] != 0, "signal TERM, KILL, STOP or CONT")
	list := w.running()
	if len(list) == 0 {
		ts.Fatalf("no agent runs")
	}
	for _, p := range list {
		ts.Check(p.kill(signals[args[0]]))
	}
	if args[0] == "STOP" || args[0] == "CONT" {
		return
	}
	if left := w.await(0); left != 0 {
		ts.Fatalf("%d agents are left after SIG%s", left, args[0])
	}
}
