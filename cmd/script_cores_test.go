//go:build linux

package cmd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/test/memory"
	"github.com/rogpeppe/go-internal/testscript"
)

// abortWait bounds the time from SIGABRT until the core file is written.
const abortWait = time.Minute

// cores [PROGRAM[=TOKEN]...] [-- PROGRAM...] waits until these programs of the workspace
// run at once, and aborts each. Those before -- must write a core file, which has no
// token, or has the one that is named. Those after -- must write none.
func (w *world) cores(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) > 0, "cores [PROGRAM[=TOKEN]...] [-- PROGRAM...]")
	wanted, names := map[string]wantedCore{}, []string(nil)
	isProtected := false
	for _, arg := range args {
		if arg == "--" {
			isProtected = true
			continue
		}
		name, token, _ := strings.Cut(arg, "=")
		wanted[name] = wantedCore{isProtected, token}
		names = append(names, name)
	}
	running := w.awaitPrograms(ts, names)
	// A program that is stopped does not see that another one has ended.
	for _, ids := range running {
		for _, id := range ids {
			_ = syscall.Kill(id, syscall.SIGSTOP)
			defer syscall.Kill(id, syscall.SIGCONT)
		}
	}
	for _, name := range names {
		written, tokens := 0, map[string]bool{}
		for _, id := range running[name] {
			cores, err := abort(id)
			ts.Check(err)
			for _, core := range cores {
				w.search(ts, core, tokens)
			}
			written += len(cores)
		}
		if want := wanted[name]; !want.is(written, tokens) {
			ts.Fatalf("%d processes of %s wrote %d core files with the tokens %v, want %+v", len(running[name]), name, written, tokens, want)
		}
	}
}

// A wantedCore is what is expected of a program that is aborted.
type wantedCore struct {
	none  bool   // no core file
	token string // the name of the token that its core files have, "" for no token
}

func (c wantedCore) is(written int, tokens map[string]bool) bool {
	switch {
	case c.none:
		return written == 0
	case c.token != "":
		return tokens[c.token]
	}
	return written > 0 && len(tokens) == 0
}

// abort ends a stopped process with SIGABRT, and returns the core files in what was its
// working directory.
func abort(id int) ([]string, error) {
	folder := fmt.Sprintf("/proc/%d/", id)
	dir, err := os.Readlink(folder + "cwd")
	if err != nil && !errors.Is(err, os.ErrPermission) { // other users' programs, and those that cannot be debugged
		return nil, err
	}
	if err := errors.Join(syscall.Kill(id, syscall.SIGABRT), syscall.Kill(id, syscall.SIGCONT)); err != nil {
		return nil, err
	}
	for until := time.Now().Add(abortWait); !hasEnded(folder); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			return nil, fmt.Errorf("process %d still runs after SIGABRT", id)
		}
	}
	if dir == "" {
		return nil, nil
	}
	return memory.CoreFiles(dir)
}

// hasEnded reports whether a process is gone, or a zombie that its stopped parent has
// not asked about.
func hasEnded(folder string) bool {
	stat, err := os.ReadFile(folder + "stat")
	_, state, _ := bytes.Cut(stat, []byte(") "))
	return err != nil || bytes.HasPrefix(state, []byte("Z")) || bytes.HasPrefix(state, []byte("X"))
}

// search adds the names of the tokens in a core file, and removes the file. Every program
// has the path of its workspace in its environment: a core file without it is not one of
// the workspace's.
func (w *world) search(ts *testscript.TestScript, core string, tokens map[string]bool) {
	defer os.Remove(core)
	sees := false
	ts.Check(memory.Scan(core, func(part []byte) bool {
		sees = sees || bytes.Contains(part, []byte(w.work))
		if name := w.held(part); name != "" {
			tokens[name] = true
		}
		return true
	}))
	if !sees {
		ts.Fatalf("%s does not have the path of the workspace: the test sees nothing", core)
	}
}
