//go:build linux

package cmd_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/memory"
	"github.com/rogpeppe/go-internal/testscript"
)

const memoryWait = time.Minute // until programs have started

// hold SUFFIX DURATION delays $GITHUB's answer to the next POST to a path with that
// suffix; "hold arrived" waits for that request.
func (w *world) hold(ts *testscript.TestScript, args []string) {
	if slices.Equal(args, []string{"arrived"}) && w.arrived != nil {
		select {
		case <-w.arrived:
		case <-time.After(memoryWait):
			ts.Fatalf("no request to hold arrived at $GITHUB")
		}
		return
	}
	usage(ts, len(args) == 2, "hold SUFFIX DURATION or hold arrived")
	d, err := time.ParseDuration(args[1])
	ts.Check(err)
	arrived := make(chan struct{})
	var once sync.Once
	matches := fakegithub.To("POST", args[0])
	w.github.Fail(func(r *http.Request) bool {
		found := matches(r)
		if found {
			once.Do(func() { close(arrived) })
		}
		return found
	}, fakegithub.Slow(d), 1)
	w.arrived = arrived
}

// memory PROGRAM... waits until these programs of the workspace run at once, and checks
// that no token is in the memory of any program of the workspace. Only root can read
// the memory of a program that cannot be debugged.
func (w *world) memory(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) > 0, "memory PROGRAM...")
	for name, data := range memories(w.awaitPrograms(ts, args)) {
		if held := w.held(data); held != "" {
			ts.Fatalf("the memory of %s holds the token %s", name, held)
		}
		if canRead := os.Geteuid() == 0; canRead && slices.Contains(args, name) && !bytes.Contains(data, []byte(w.work)) {
			ts.Fatalf("%d bytes of the memory of %s were read, without the path of its workspace: the test sees nothing", len(data), name)
		}
	}
}

// awaitPrograms waits until these programs of the workspace run at once, and returns all
// that run, as programs does.
func (w *world) awaitPrograms(ts *testscript.TestScript, names []string) map[string][]int {
	for until := time.Now().Add(memoryWait); ; time.Sleep(10 * time.Millisecond) {
		running := w.programs()
		missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return running[name] != nil })
		if len(missing) == 0 {
			return running
		}
		if time.Now().After(until) {
			ts.Fatalf("%q do not run", missing)
		}
	}
}

// memories returns the command lines and the memory of programs.
func memories(running map[string][]int) map[string][]byte {
	all := map[string][]byte{}
	for name, ids := range running {
		for _, id := range ids {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id)) // the process may have ended
			all[name] = append(append(all[name], line...), memory.Of(id)...)
		}
	}
	return all
}

// programs returns the processes of the workspace's programs, by the programs' names.
// The broker is not among them.
func (w *world) programs() map[string][]int {
	all := map[string][]int{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		pid, _ := strconv.Atoi(filepath.Base(folder))
		line, _ := os.ReadFile(folder + "/cmdline") // the process may have ended
		environ, _ := os.ReadFile(folder + "/environ")
		isOurs := bytes.Contains(environ, []byte("GATEPASS_CONFIG="+w.work+"/")) || bytes.Contains(line, []byte(w.work+"/"))
		isBroker := w.brokerProcess != nil && w.brokerProcess.Process.Pid == pid
		if len(line) == 0 || !isOurs || isBroker || pid == os.Getpid() {
			continue
		}
		program, _, _ := strings.Cut(string(line), "\x00")
		name := filepath.Base(program)
		all[name] = append(all[name], pid)
	}
	return all
}

// pauseBroker stops the broker of brokerd, or lets it continue.
func (w *world) pauseBroker(ts *testscript.TestScript, s syscall.Signal) {
	if w.brokerProcess == nil {
		ts.Fatalf("no broker runs")
	}
	ts.Check(w.brokerProcess.Process.Signal(s))
}
