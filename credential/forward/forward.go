// Package forward implements git-credential-gatepass and gatepass-askpass: it passes
// one request to the agent and prints the complete answer, within one deadline.
package forward

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/workspacefile"
)

const (
	// DefaultTimeout limits one call of the helper, including the time to read git's
	// request and to ask the source.
	DefaultTimeout = 20 * time.Second

	timeoutVariable = "GATEPASS_TIMEOUT"
)

// An Environment is the environment of the program.
type Environment struct {
	Getenv         func(string) string
	Getwd          func() (string, error)
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Gateway is the gateway that gatepass install configured in git, if the workspace
	// file names none. The agent parses it; here it is any text without blanks.
	Gateway string
}

// Timeout reads GATEPASS_TIMEOUT: a Go duration ("5s") or whole seconds.
func Timeout(getenv func(string) string) time.Duration {
	text := getenv(timeoutVariable)
	if text == "" {
		return DefaultTimeout
	}
	if seconds, err := strconv.ParseUint(text, 10, 16); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d
	}
	return DefaultTimeout
}

// config returns the workspace file's absolute path. It is spelled as in the other
// programs, because it identifies the agent.
func (w Environment) config() (string, error) {
	name := w.Getenv(workspacefile.Variable)
	if name == "" {
		return workspacefile.Path(w.Getenv), nil
	}
	if name[0] == '/' {
		return path.Clean(name), nil
	}
	dir, err := w.Getwd()
	if err != nil {
		return "", err
	}
	return path.Join(dir, name), nil
}

// ask makes the call with the workspace file and gateway of the environment.
func (w Environment) ask(operation string, payload []byte, deadline time.Time) (agent.Reply, error) {
	config, err := w.config()
	if err != nil {
		return agent.Reply{}, err
	}
	return agent.Ask(agent.Call{Operation: agent.Through(operation, w.Gateway), Config: config, Payload: payload}, w.Getenv, deadline)
}

// print writes a reply, with one write for each stream.
func (w Environment) print(r agent.Reply) int {
	if len(r.Stderr) > 0 {
		_, _ = w.Stderr.Write(r.Stderr)
	}
	if len(r.Stdout) > 0 {
		if _, err := w.Stdout.Write(r.Stdout); err != nil {
			return 1
		}
	}
	return r.Exit
}

// readRequest reads until the blank line that ends a request, the end of input, or the
// deadline.
func readRequest(r io.Reader, deadline time.Time) ([]byte, error) {
	r = bounded(r, deadline)
	buf := make([]byte, 0, 4096)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case ended(buf) || err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, err
		case len(buf) > protocol.MaxRequest:
			return nil, protocol.ErrMalformed
		}
	}
}

// ended reports whether buf holds the blank line; what follows it is ignored.
func ended(buf []byte) bool {
	return bytes.HasPrefix(buf, []byte("\n")) || bytes.Contains(buf, []byte("\n\n"))
}

// ErrorFor returns the error for a person if [agent.Ask] failed with err.
func ErrorFor(err error) error {
	var line *usererr.Error
	if errors.As(err, &line) {
		return err
	}
	return usererr.Wrap("ask "+agent.Program, err, "check that it is installed beside this program, or run gatepass agent status")
}

// request writes a prompt's URL as a git-credential request.
func request(p protocol.Prompt) []byte {
	var b strings.Builder
	b.WriteString("protocol=https\nhost=" + p.Host + "\n")
	if p.Path != "" {
		b.WriteString("path=" + p.Path + "\n")
	}
	if p.HasUsername {
		b.WriteString("username=" + p.Username + "\n")
	}
	return []byte(b.String() + "\n")
}

const (
	maxConfig = 1 << 20 // bytes of a workspace file

	// quit tells git to stop: to ask no other helper and not to prompt.
	quit = "quit=1\n"
	late = "gatepass: answer git: its request did not end in time; set a longer " + timeoutVariable + "\n"
)

// Helper executes one operation of a git credential helper and returns the exit status.
// Unknown operations print nothing and succeed, as gitcredentials(7) asks.
func Helper(operation string, w Environment) int {
	switch operation {
	case "get":
		return w.get()
	case "erase":
		return w.erase()
	case "capability":
		_, _ = w.Stdout.Write([]byte("version 0\ncapability authtype\ncapability state\n"))
	}
	return 0
}

func (w Environment) get() int {
	deadline := time.Now().Add(Timeout(w.Getenv))
	payload, err := readRequest(w.Stdin, deadline)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_, _ = w.Stderr.Write([]byte(late))
		return 1
	}
	if err != nil || !w.isWorthAsking(payload) {
		return 0
	}
	reply, err := w.ask(agent.Get, payload, deadline)
	if err != nil {
		reply = agent.Reply{Stdout: []byte(quit), Stderr: []byte(usererr.Line(ErrorFor(err)))}
	}
	return w.print(reply)
}

// erase tells a running agent; without an agent there is nothing to forget.
func (w Environment) erase() int {
	deadline := time.Now().Add(Timeout(w.Getenv))
	payload, err := readRequest(w.Stdin, deadline)
	if err != nil || !w.isWorthAsking(payload) {
		return 0
	}
	config, err := w.config()
	if err != nil {
		return 0
	}
	_, _, _ = agent.AskRunning(agent.Call{Operation: agent.Through(agent.Erase, w.Gateway), Config: config, Payload: payload}, w.Getenv, deadline)
	return 0
}

// isWorthAsking reports whether the agent should see a request. Malformed requests and
// other protocols get an empty answer. Only a gateway at a loopback address, for tests,
// uses http.
func (w Environment) isWorthAsking(payload []byte) bool {
	req, err := protocol.ParseRequest(payload)
	switch {
	case err != nil:
		return false
	case req.Protocol == "http" && gitname.IsLoopback(req.Host):
		return w.Gateway != "" || w.mayHaveGateway()
	}
	return req.Protocol == "https"
}

// mayHaveGateway reports whether the workspace file mentions a gateway. The agent
// parses it.
func (w Environment) mayHaveGateway() bool {
	config, err := w.config()
	if err != nil {
		return false
	}
	info, err := os.Stat(config)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxConfig {
		return false
	}
	text, err := os.ReadFile(config)
	return err == nil && bytes.Contains(text, []byte("gateway"))
}

// Askpass answers one askpass prompt and returns the exit status. It prints one line,
// or nothing with status 1. It prints nothing on standard error, which git-lfs takes as
// a failure.
func Askpass(prompt string, w Environment) int {
	p, err := protocol.ParsePrompt(prompt)
	if err != nil {
		return 1
	}
	operation := agent.Username
	if p.WantsPassword {
		operation = agent.Password
	}
	reply, err := w.ask(operation, request(p), time.Now().Add(Timeout(w.Getenv)))
	if err != nil || len(reply.Stdout) == 0 {
		return 1
	}
	reply.Stderr = nil
	return w.print(reply)
}
