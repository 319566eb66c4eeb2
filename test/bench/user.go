package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/credentialtest"
)

// The programs in the folder of binaries.
const (
	helperProgram  = "git-credential-gatepass"
	askpassProgram = "gatepass-askpass"
	guardProgram   = "gatepass-pre-push"
	agentProgram   = agent.Program
	cliProgram     = "gatepass"
)

// A testUser is one user on a machine of their own: a home, a runtime directory
// and a workspace file, all scratch.
type testUser struct {
	bench  *bench
	dir    string
	config string // the workspace file
}

func (b *bench) newUser(name string) (*testUser, error) {
	dir, err := b.tempDir(name)
	if err != nil {
		return nil, err
	}
	w := &testUser{bench: b, dir: dir, config: filepath.Join(dir, "workspace.yaml")}
	for _, d := range []string{w.home(), w.runtime()} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *testUser) home() string    { return filepath.Join(w.dir, "home") }
func (w *testUser) runtime() string { return filepath.Join(w.dir, "run") }

// env returns the whole environment of a program of this user.
func (w *testUser) env(more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + w.home(),
		"XDG_RUNTIME_DIR=" + w.runtime(),
		"TMPDIR=" + os.TempDir(),
		"LANG=C.UTF-8",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GATEPASS_CONFIG=" + w.config,
		"GATEPASS_AGENT_IDLE=5m",
	}, more...)
}

func (w *testUser) getenv(name string) string {
	for _, v := range w.env() {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// configure writes the workspace file.
func (w *testUser) configure(lines ...string) error {
	return os.WriteFile(w.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// command returns a command that runs one of our programs, or git, in this user.
func (w *testUser) command(program string, args ...string) command {
	path := filepath.Join(w.bench.bin, program)
	if program == "git" {
		path, _ = exec.LookPath("git") // newBench has run it, so it exists
	}
	return command{path: path, args: args, env: w.env(), dir: w.dir}
}

// do runs a program once, with input of any length, and returns its output.
func (w *testUser) do(stdin, program string, args ...string) (string, error) {
	c := w.command(program, args...)
	ctx, cancel := context.WithTimeout(w.bench.ctx, runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Env, cmd.Dir, cmd.Stdin = c.env, c.dir, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// install makes git use gatepass in this user, as a person would.
func (w *testUser) install() error {
	_, err := w.do("", cliProgram, "install", "--global", "--bin-dir", w.bench.bin)
	return err
}

// useGitsCache makes git use its own cache in this user, which is the peer, and stores
// the credential for each path of github.com or host in it.
func (w *testUser) useGitsCache(host, token string, paths ...string) error {
	if _, err := w.do("", "git", "config", "--global", "credential.helper", "cache"); err != nil {
		return err
	}
	for _, path := range paths {
		text := request(host, path, "username=x-access-token", "password="+token)
		if _, err := w.do(text, "git", "credential-cache", "store"); err != nil {
			return err
		}
	}
	return nil
}

// close stops what this user has started. Some of it may not run.
func (w *testUser) close() {
	_ = w.stopAgent()
	_, _ = w.do("", "git", "credential-cache", "exit")
}

// stopAgent asks the agent to end and waits until it has.
func (w *testUser) stopAgent() error {
	call := agent.Call{Operation: agent.Stop, Config: w.config}
	_, found, err := agent.AskRunning(call, w.getenv, time.Now().Add(5*time.Second))
	if err != nil || !found {
		return err
	}
	place, err := agent.Locate(w.config, w.getenv)
	if err != nil {
		return err
	}
	for range 1000 {
		if !held(place.Lock) {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("the agent does not end")
}

// held reports whether a process holds the lock file, as a running agent does.
func held(lock string) bool {
	f, err := os.Open(lock)
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
}

// request is a git-credential request for a host and a path, which may be
// empty.
func request(host, path string, more ...string) string {
	lines := []string{"protocol=https", "host=" + host}
	if path != "" {
		lines = append(lines, "path="+path)
	}
	return strings.Join(append(lines, more...), "\n") + "\n\n"
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// gitVersion returns the version of the git on PATH.
func gitVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "version").Output()
	return versionNumber.FindString(string(out)), err
}

// A broker is a token source on a Unix socket that counts its calls.
type broker struct {
	credentialtest.Broker
	socket string
	server *http.Server
}

// startBroker serves host. If token is not empty, the broker gives out token. delay is
// how long it takes to answer.
func (b *bench) startBroker(host, token string, delay time.Duration) (*broker, error) {
	dir, err := b.tempDir("broker")
	if err != nil {
		return nil, err
	}
	br := &broker{socket: filepath.Join(dir, "s")}
	br.Hosts = []string{host}
	br.Mint = func(_ string, r api.TokenRequest) (api.TokenAnswer, error) {
		time.Sleep(delay)
		answer := credentialtest.FreshAnswer(br.Calls(), r)
		if token != "" {
			answer.Token = api.NewSecret(token)
		}
		answer.ExpiresAt = time.Now().Add(credential.Lifetime)
		return answer, nil
	}
	l, err := net.Listen("unix", br.socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(br.socket, 0o600); err != nil {
		return nil, err
	}
	br.server = &http.Server{Handler: br, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = br.server.Serve(l) }()
	return br, nil
}

func (br *broker) close() { _ = br.server.Close() }

// line returns the line for this source in a workspace file.
func (br *broker) line() string { return "source: broker+unix://" + br.socket }
