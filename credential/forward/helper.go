package forward

import (
	"bytes"
	"errors"
	"os"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	maxConfig = 1 << 20 // bytes of a workspace file

	// quit tells git to stop: to ask no other helper and not to prompt.
	quit = "quit=1\n"
	late = "gatepass: answer git: its request did not end in time; give it longer with " + timeoutVariable + "\n"
)

// Helper executes one operation of a git credential helper and returns the exit status.
// Unknown operations print nothing and succeed, as gitcredentials(7) asks.
func Helper(operation string, w World) int {
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

func (w World) get() int {
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
		reply = agent.Reply{Stdout: []byte(quit), Stderr: []byte(usererr.Line(Trouble(err)))}
	}
	return w.print(reply)
}

// erase tells a running agent; without an agent there is nothing to forget.
func (w World) erase() int {
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
func (w World) isWorthAsking(payload []byte) bool {
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
func (w World) mayHaveGateway() bool {
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
