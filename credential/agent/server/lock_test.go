package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/filestamp"
)

// in returns a call to the agent of that environment.
func (w *world) in(values map[string]string) func(string) string {
	return func(name string) string {
		if value, ok := values[name]; ok {
			return value
		}
		return w.getenv(name)
	}
}

// The digest in a socket's name is short; the server compares the whole.
func TestServerServesOneEnvironmentOnly(t *testing.T) {
	w := newWorld(t)
	w.run(t.Context(), &Server{})
	call := agent.Call{Operation: agent.Get, Config: w.config, Timeout: time.Minute, Payload: []byte(widgets)}
	for name, identity := range map[string]string{"another": strings.Repeat("0", 64), "none": "", "the beginning": w.place.Identity[:16]} {
		call.Identity = identity
		r, found, err := agent.AskAt(w.place.Socket, call, time.Now().Add(time.Minute))
		if err != nil || !found || string(r.Stdout) != "quit=1\n" || !strings.Contains(string(r.Stderr), "with this environment") || w.calls.Load() != 0 {
			t.Errorf("get with %s identity = %q, %q, %v, want it refused", name, r.Stdout, r.Stderr, err)
		}
	}
	call.Identity = w.place.Identity
	if r, _, err := agent.AskAt(w.place.Socket, call, time.Now().Add(time.Minute)); err != nil || !strings.Contains(string(r.Stdout), "password=") {
		t.Errorf("get = %q, %v, want a token", r.Stdout, err)
	}
}

func TestServersOfTwoEnvironmentsKeepOutOfEachOthersWay(t *testing.T) {
	w := newWorld(t)
	w.run(t.Context(), &Server{})
	getenv := w.in(map[string]string{"GATEPASS_IDENTITY": "second"})
	place, err := agent.Locate(w.config, getenv)
	if err != nil {
		t.Fatal(err)
	}
	second := &world{t: t, config: w.config, place: place, getenv: getenv}
	second.run(t.Context(), &Server{})
	for range 2 {
		w.ask(agent.Get, widgets)
		second.ask(agent.Get, widgets)
	}
	if w.calls.Load() != 1 || second.calls.Load() != 1 {
		t.Errorf("the sources were asked %d and %d times, want each once", w.calls.Load(), second.calls.Load())
	}
}

// Where no locks work, the helper's child has to answer, at once.
func TestRunWhereThereAreNoLocks(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOLCK, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		t.Run(errno.Error(), func(t *testing.T) {
			flock = func(int, int) error { return errno }
			t.Cleanup(func() { flock = syscall.Flock })
			w := newWorld(t)
			s := &Server{Config: w.config, Open: w.open}
			begun := time.Now()
			err := s.Run(t.Context(), w.place, func() { t.Error("the server is ready without a lock") })
			if !errors.Is(err, errno) || errors.Is(err, ErrRunning) || time.Since(begun) > lockWait {
				t.Errorf("Run = %v after %v, want %v at once", err, time.Since(begun), errno)
			}
		})
	}
}

// Each environment has files of its own, and a killed agent does not remove them.
func TestSweepRemovesWhatDeadAgentsLeft(t *testing.T) {
	w := newWorld(t)
	done := w.run(t.Context(), &Server{})
	dead := filepath.Join(w.place.Directory, "dead")
	for _, end := range []string{".sock", ".lock", ".start"} {
		if err := os.WriteFile(dead+end, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if running := sweep(w.place.Directory, "none"); running != 1 {
		t.Errorf("sweep = %d, want the one that runs", running)
	}
	if left, _ := filepath.Glob(dead + "*"); left != nil {
		t.Errorf("%q is left", left)
	}
	w.ask(agent.Get, widgets)
	w.ask(agent.Stop, "")
	ends(t, done)
}

// A lock on a file that was removed excludes no other process.
func TestALockThatWasSweptAwayIsNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	flock = func(fd, how int) error {
		_ = os.Remove(path)
		flock = syscall.Flock
		return syscall.Flock(fd, how)
	}
	t.Cleanup(func() { flock = syscall.Flock })
	unlock, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := tryLock(path, os.O_RDWR); err != syscall.EWOULDBLOCK {
		t.Errorf("tryLock = %v, want that the file there is locked", err)
	}
}

// Otherwise a machine where each job has an identity of its own would fill with agents.
func TestAgentsOfAUserAreLimited(t *testing.T) {
	w := newWorld(t)
	for i := range maxAgents {
		unlock, err := takeLock(filepath.Join(w.place.Directory, fmt.Sprintf("other%d.lock", i)))
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
	}
	s := &Server{Config: w.config, Open: w.open}
	if err := s.Run(t.Context(), w.place, func() {}); !errors.Is(err, errTooMany) {
		t.Errorf("Run beside %d agents = %v, want %v", maxAgents, err, errTooMany)
	}
}

// After an upgrade the agent of the previous version must end, but must still answer
// clients that wait.
func TestServerEndsWhenItsProgramWasReplaced(t *testing.T) {
	for name, replace := range map[string]func(program string) error{
		"another file in its place": func(p string) error {
			if err := os.WriteFile(p+".new", []byte("v2"), 0o755); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		},
		"overwritten": func(p string) error { return os.WriteFile(p, []byte("version 2"), 0o755) },
		"gone":        os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			program := filepath.Join(t.TempDir(), agent.Program)
			if err := os.WriteFile(program, []byte("v1"), 0o755); err != nil {
				t.Fatal(err)
			}
			asked, answer := make(chan struct{}), make(chan struct{})
			w.source = func(ctx context.Context, _ credential.Request) (credential.Token, error) {
				close(asked)
				select {
				case <-answer:
				case <-ctx.Done():
				}
				return credential.NewToken("tok-slow", time.Now().Add(time.Hour)), ctx.Err()
			}
			done := w.run(t.Context(), &Server{Program: program})
			replied := make(chan agent.Reply, 1)
			go func() { replied <- w.ask(agent.Get, widgets) }()
			<-asked
			if err := replace(program); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
				if _, err := os.Stat(w.place.Socket); errors.Is(err, os.ErrNotExist) {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the server still listens after a minute")
				}
			}
			next := &world{t: t, config: w.config, place: w.place, getenv: w.getenv}
			next.run(t.Context(), &Server{}) // need not wait for the answer in progress
			close(answer)
			if r := <-replied; !strings.Contains(string(r.Stdout), "password=tok-slow\n") {
				t.Errorf("get = %q, %q, want its answer", r.Stdout, r.Stderr)
			}
			ends(t, done)
		})
	}
}

// Backups, package managers and containers change mode, links and owner of a program
// that remains the same.
func TestServerStaysWhileItsProgramIsTheSame(t *testing.T) {
	program := filepath.Join(t.TempDir(), agent.Program)
	if err := os.WriteFile(program, []byte("v1"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &Server{Program: program}
	s.prepare()
	if err := os.Chmod(program, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(program, program+".link"); err != nil {
		t.Fatal(err)
	}
	if s.replaced() {
		t.Error("replaced() = true for another mode, want false")
	}
}

// A session of a join token is lost with the process: such an agent stays, and reports
// that it is old.
func TestASessionOutlivesAnUpgrade(t *testing.T) {
	w := newWorld(t)
	program := filepath.Join(t.TempDir(), agent.Program)
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	opener := func(c *config.Workspace) (credential.Source, error) {
		src, err := w.open(c)
		return session{src}, err
	}
	s := &Server{Config: w.config, Open: opener, Program: program}
	s.prepare()
	mine, err := filestamp.Of(w.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if s.useless(w.config, mine) {
		t.Error("an agent with a session is of no use after an upgrade, want that it stays")
	}
	if text := string(s.status().Stdout); !strings.Contains(text, `"program_replaced":true`) {
		t.Errorf("status = %s, want that the program was replaced", text)
	}
}
