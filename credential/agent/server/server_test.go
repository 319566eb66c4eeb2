package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
)

const workspaceFile = "source: file:///unused\nrepos: [acme/*]\n"

// world is one workspace file, one place and a source that counts.
type world struct {
	t      *testing.T
	config string
	place  agent.Place
	calls  atomic.Int64
	getenv func(string) string
	source credential.SourceFunc // nil for tokens tok-1, tok-2 and so on
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, config: filepath.Join(dir, "workspace.yaml")}
	w.write(workspaceFile)
	runtimeDir, err := os.MkdirTemp("/tmp", "gp") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runtimeDir) })
	w.getenv = func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": runtimeDir}[name] }
	if w.place, err = agent.Locate(w.config, w.getenv); err != nil || filepath.Dir(w.place.Directory) != runtimeDir {
		t.Fatalf("Locate = %+v, %v, want it in %s", w.place, err, runtimeDir)
	}
	return w
}

func (w *world) write(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open(*config.Workspace) (credential.Source, error) {
	if w.source != nil {
		return w.source, nil
	}
	return credential.SourceFunc(func(context.Context, credential.Request) (credential.Token, error) {
		return credential.NewToken(fmt.Sprintf("tok-%d", w.calls.Add(1)), time.Now().Add(time.Hour)), nil
	}), nil
}

// run starts a server and returns its error.
func (w *world) run(ctx context.Context, s *Server) <-chan error {
	w.t.Helper()
	s.Config, s.Open = w.config, w.open
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() { done <- s.Run(ctx, w.place, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		select {
		case <-ready: // and has ended since
			done <- err
		default:
			w.t.Fatalf("Run = %v before it was ready", err)
		}
	case <-time.After(time.Minute):
		w.t.Fatal("the server is not ready after a minute")
	}
	return done
}

func (w *world) ask(operation, payload string) agent.Reply {
	w.t.Helper()
	c := agent.Call{Operation: operation, Config: w.config, Payload: []byte(payload)}
	r, found, err := agent.AskRunning(c, w.getenv, time.Now().Add(time.Minute))
	if err != nil || !found {
		w.t.Fatalf("AskRunning(%s) = %v, found %v", operation, err, found)
	}
	return r
}

// ends waits for a server to end by itself.
func ends(t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	case <-time.After(time.Minute):
		t.Error("the server still runs after a minute")
	}
}

const widgets = "protocol=https\nhost=github.com\npath=acme/widgets.git\n\n"

func TestServerAnswers(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := w.run(ctx, &Server{})
	for _, c := range []struct{ name, operation, payload, stdout, stderr string }{
		{"a first get", agent.Get, widgets, "password=tok-1\n", ""},
		{"a second get", agent.Get, widgets, "password=tok-1\n", ""},
		{"another host", agent.Get, "protocol=https\nhost=evil.example\n\n", "", ""},
		{"garbage", agent.Get, "hello", "", ""},
		{"a repository that is not ours", agent.Get, "protocol=https\nhost=github.com\npath=other/x\n\n", "quit=1\n", "not in this workspace's repos"},
		{"no path", agent.Get, "protocol=https\nhost=github.com\n\n", "quit=1\n", "useHttpPath"},
		{"askpass' first question", agent.Username, widgets, "x-access-token\n", ""},
		{"askpass' second question", agent.Password, widgets, "tok-1\n", ""},
		{"askpass for another host", agent.Username, "protocol=https\nhost=evil.example\n\n", "", ""},
		{"an erase", agent.Erase, strings.TrimSuffix(widgets, "\n") + "password=tok-1\n\n", "", ""},
		{"a get after it", agent.Get, widgets, "password=tok-2\n", ""},
		{"an unknown operation", "dance", widgets, "", ""},
	} {
		r := w.ask(c.operation, c.payload)
		if !strings.Contains(string(r.Stdout), c.stdout) || c.stdout == "" && len(r.Stdout) > 0 {
			t.Errorf("%s: stdout = %q, want %q", c.name, r.Stdout, c.stdout)
		}
		if !strings.Contains(string(r.Stderr), c.stderr) || c.stderr == "" && len(r.Stderr) > 0 {
			t.Errorf("%s: stderr = %q, want %q", c.name, r.Stderr, c.stderr)
		}
	}
	cancel()
	ends(t, done)
	if _, err := os.Stat(w.place.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestStatusShowsNoToken(t *testing.T) {
	w := newWorld(t)
	w.run(t.Context(), &Server{})
	w.ask(agent.Get, widgets)
	r := w.ask(agent.Status, "")
	var st agent.State
	if err := json.Unmarshal(r.Stdout, &st); err != nil || len(st.Tokens) != 1 || st.PID != os.Getpid() {
		t.Fatalf("status = %s, %v, want this process and one token", r.Stdout, err)
	}
	if strings.Contains(string(r.Stdout), "tok-1") || st.Tokens[0].Hash == "" {
		t.Errorf("status = %s, want the hash and not the token", r.Stdout)
	}
}

func TestServerEndsWhenItIsOfNoUse(t *testing.T) {
	for name, end := range map[string]func(*world){
		"stopped":                 func(w *world) { w.ask(agent.Stop, "") },
		"its socket is gone":      func(w *world) { _ = os.Remove(w.place.Socket) },
		"its file is gone":        func(w *world) { _ = os.Remove(w.config) },
		"its directory is gone":   func(w *world) { _ = os.RemoveAll(w.place.Directory) },
		"no cache is wanted more": func(w *world) { w.write(workspaceFile + "cache: none\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			done := w.run(t.Context(), &Server{})
			w.ask(agent.Get, widgets)
			end(w)
			ends(t, done)
		})
	}
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		ends(t, w.run(t.Context(), &Server{Idle: time.Millisecond}))
	})
}

func TestServerFollowsItsFile(t *testing.T) {
	w := newWorld(t)
	w.run(t.Context(), &Server{})
	other := "protocol=https\nhost=github.com\npath=other/x\n\n"
	if r := w.ask(agent.Get, other); string(r.Stdout) != "quit=1\n" {
		t.Fatalf("get = %q, want quit=1", r.Stdout)
	}
	w.write("source: file:///unused\nrepos: [other/x]\n")
	if r := w.ask(agent.Get, other); !strings.Contains(string(r.Stdout), "password=") {
		t.Errorf("get after the change = %q, want a token", r.Stdout)
	}
	w.write("sauce: file:///unused\n")
	r := w.ask(agent.Get, other)
	if string(r.Stdout) != "quit=1\n" || !strings.Contains(string(r.Stderr), "sauce") || strings.Count(string(r.Stderr), "\n") != 1 {
		t.Errorf("get with a bad file = %q, %q, want quit=1 and one line that says sauce", r.Stdout, r.Stderr)
	}
}

func TestServerServesOneFileOnly(t *testing.T) {
	w := newWorld(t)
	s := &Server{Config: w.config, Open: w.open, stop: func() {}}
	s.prepare()
	r := s.answer(t.Context(), agent.Call{Operation: agent.Get, Config: "/other", Timeout: time.Minute, Payload: []byte(widgets)}, 0)
	if string(r.Stdout) != "quit=1\n" || w.calls.Load() != 0 {
		t.Errorf("answer for another file = %q, want quit=1 and no call to the source", r.Stdout)
	}
}

func TestOneServerWins(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	var won, lost atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			s := &Server{Config: w.config, Open: w.open}
			err := s.Run(ctx, w.place, func() { won.Add(1) })
			if errors.Is(err, ErrRunning) {
				lost.Add(1)
			}
		})
	}
	for deadline := time.Now().Add(time.Minute); lost.Load() < 49 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 49 {
		t.Errorf("won %d, lost %d, want 1 and 49", won.Load(), lost.Load())
	}
}

func TestServerTakesOverALeftoverSocket(t *testing.T) {
	w := newWorld(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: w.place.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // as a killed agent leaves it
	w.run(t.Context(), &Server{})
	w.ask(agent.Get, widgets)
}

func TestServerOutlivesBadCallers(t *testing.T) {
	w := newWorld(t)
	w.run(t.Context(), &Server{})
	for _, say := range []string{"", "hello\n", "gatepass/2 get 1 0 99999999999 /x\n", strings.Repeat("x", 1<<20)} {
		conn, err := net.Dial("unix", w.place.Socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(say))
		conn.Close()
	}
	if r := w.ask(agent.Get, widgets); !strings.Contains(string(r.Stdout), "password=") {
		t.Errorf("get = %q, want a token", r.Stdout)
	}
}

func TestOnceAnswersOneCall(t *testing.T) {
	w := newWorld(t)
	w.write(workspaceFile + "cache: none\n")
	s := &Server{Config: w.config, Open: w.open}
	if s.Stays() {
		t.Error("Stays() = true with cache: none")
	}
	call := agent.AppendCall(nil, agent.Call{Operation: agent.Get, Config: w.config, Timeout: time.Minute, Payload: []byte(widgets)})
	var out strings.Builder
	if err := s.Once(t.Context(), strings.NewReader(string(call)), &out); err != nil {
		t.Fatal(err)
	}
	r, whole, err := agent.ParseReply([]byte(out.String()))
	if err != nil || !whole || !strings.Contains(string(r.Stdout), "password=tok-1\n") {
		t.Errorf("Once = %q, %v, want a token", r.Stdout, err)
	}
}
