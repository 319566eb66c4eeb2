//go:build linux

package cmd_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/memory"
	"github.com/rogpeppe/go-internal/testscript"
)

const memoryWait = time.Minute // until programs have started

// hold SUFFIX DURATION delays $GITHUB's answer to the next POST to a path with that
// suffix.
func (w *world) hold(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 2, "hold SUFFIX DURATION")
	d, err := time.ParseDuration(args[1])
	ts.Check(err)
	w.github.Fail(fakegithub.To("POST", args[0]), fakegithub.Slow(d), 1)
}

// memory PROGRAM... waits until these programs of the workspace run at once, and checks
// that no token is in the memory of any program of the workspace. Only root can read
// the memory of a program that cannot be debugged.
func (w *world) memory(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) > 0, "memory PROGRAM...")
	var seen map[string][]byte
	for until := time.Now().Add(memoryWait); ; time.Sleep(10 * time.Millisecond) {
		seen = w.memories()
		missing := slices.DeleteFunc(slices.Clone(args), func(name string) bool { return seen[name] != nil })
		if len(missing) == 0 {
			break
		}
		if time.Now().After(until) {
			ts.Fatalf("%q do not run", missing)
		}
	}
	for name, data := range seen {
		if held := w.held(data); held != "" {
			ts.Fatalf("the memory of %s holds the token %s", name, held)
		}
		if canRead := os.Geteuid() == 0; canRead && slices.Contains(args, name) && !bytes.Contains(data, []byte(w.work)) {
			ts.Fatalf("%d bytes of the memory of %s were read, without the path of its workspace: the test sees nothing", len(data), name)
		}
	}
}

// memories returns the memory of the workspace's programs, by their names. The broker
// is not among them.
func (w *world) memories() map[string][]byte {
	all := map[string][]byte{}
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
		all[name] = append(append(all[name], line...), memory.Of(pid)...)
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
