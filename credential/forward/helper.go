package forward

import (
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/oneline"
)

// quit tells git to stop here: no other helper, no prompt.
const quit = "quit=1\n"

// Helper does one operation of a git credential helper and returns the exit
// status. Operations it does not know print nothing and succeed, as
// gitcredentials(7) asks.
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
	dl := within(timeout(w.Getenv), func() {
		_, _ = w.Stderr.Write([]byte("gatepass: answer git: time is up before git's request was read and answered; give it longer with " + timeoutVariable + "\n"))
		w.Exit(1)
	})
	payload, err := readRequest(w.Stdin)
	if err != nil || !worthAsking(payload) {
		dl.settle()
		return 0
	}
	reply, err := w.ask(agent.Get, payload, dl.at)
	if !dl.settle() {
		select {} // the other side is printing, and ends the program
	}
	if err != nil {
		reply = agent.Reply{Stdout: []byte(quit), Stderr: []byte(oneline.Line(trouble(err)))}
	}
	return w.print(reply)
}

// erase tells a running agent; without one there is nothing to forget.
func (w World) erase() int {
	dl := within(timeout(w.Getenv), func() { w.Exit(0) })
	payload, err := readRequest(w.Stdin)
	if err != nil || !worthAsking(payload) {
		return 0
	}
	config, err := w.config()
	if err != nil {
		return 0
	}
	_, _, _ = agent.AskRunning(agent.Call{Operation: agent.Erase, Config: config, Payload: payload}, w.Getenv, dl.at)
	return 0
}

// worthAsking keeps malformed requests and other protocols from the agent: they
// are answered with silence.
func worthAsking(payload []byte) bool {
	req, err := protocol.ParseRequest(payload)
	return err == nil && req.Protocol == "https"
}
