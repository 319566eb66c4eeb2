package server

import (
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/filestamp"
)

// session is a source that cannot be opened again.
type session struct{ credential.Source }

func (session) NeedsAgent() bool { return true }

func TestAnAgentStaysForASession(t *testing.T) {
	w := newWorld(t)
	opener := func(c *config.Workspace) (credential.Source, error) {
		src, err := w.open(c)
		return session{src}, err
	}
	s := &Server{Config: w.config, Open: opener, Idle: time.Nanosecond}
	s.prepare()
	mine := filestamp.Stamp{}
	if there, err := filestamp.Of(w.config); err == nil {
		mine = there
	}
	if s.useless(w.config, mine) {
		t.Error("an idle agent with a session is of no use, want that it stays")
	}
	var out strings.Builder
	call := agent.AppendCall(nil, agent.Call{Operation: agent.Get, Config: w.config, Timeout: time.Minute, Payload: []byte(widgets)})
	if err := s.Once(t.Context(), strings.NewReader(string(call)), &out); err != nil {
		t.Fatal(err)
	}
	r, _, err := agent.ParseReply([]byte(out.String()))
	if err != nil || string(r.Stdout) != "quit=1\n" || !strings.Contains(string(r.Stderr), "it needs an agent that keeps running: this process would lose the session") || w.calls.Load() != 0 {
		t.Errorf("Once = %q, %q, %v after %d calls, want a refusal that asks for an agent", r.Stdout, r.Stderr, err, w.calls.Load())
	}
}
