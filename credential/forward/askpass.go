package forward

import (
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/protocol"
)

// Askpass answers one askpass prompt and returns the exit status. It prints one line,
// or nothing with status 1. It prints nothing on standard error, which git-lfs takes as
// a failure.
func Askpass(prompt string, w World) int {
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
