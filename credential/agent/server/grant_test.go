package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
)

// operationSource gives different tokens for reading and for writing.
type operationSource struct{}

func (operationSource) UsesOperation() {}

func (operationSource) Key(req credential.Request) string { return req.Operation }

func (operationSource) Token(_ context.Context, req credential.Request) (credential.Token, error) {
	tok := credential.NewToken("tok-"+req.Operation, time.Now().Add(time.Hour))
	tok.Repositories, tok.Permissions = []string{"acme/widgets"}, map[string]string{"contents": req.Operation}
	return tok, nil
}

func TestGrantSaysWhatIsKnownOfTheToken(t *testing.T) {
	w := newWorld(t)
	s := &Server{Config: w.config, Open: func(*config.Workspace) (credential.Source, error) { return operationSource{}, nil }}
	s.prepare()
	for _, c := range []struct{ operation, want string }{
		{agent.Token, "write"},
		{agent.TokenRead, "read"},
		{agent.TokenWrite, "write"},
	} {
		r := s.answer(t.Context(), agent.Call{Operation: c.operation, Config: w.config, Timeout: time.Minute, Payload: []byte(widgets)}, 0)
		var g agent.Grant
		if err := json.Unmarshal(r.Stdout, &g); err != nil {
			t.Fatalf("%s = %q, %q: %v", c.operation, r.Stdout, r.Stderr, err)
		}
		if g.Token != "tok-"+c.want || g.Permissions["contents"] != c.want || g.Username != "x-access-token" ||
			len(g.Repositories) != 1 || g.Hash == "" || time.Until(g.ExpiresAt) < 50*time.Minute {
			t.Errorf("%s = %s, want all of the %s token", c.operation, r.Stdout, c.want)
		}
	}
}

func TestGrantStaysBehindTheFence(t *testing.T) {
	w := newWorld(t)
	w.run(t.Context(), &Server{})
	for _, c := range []struct{ name, payload, why string }{
		{"another host", "protocol=https\nhost=evil.example\n\n", "it serves github.com"},
		{"another protocol", "protocol=http\nhost=github.com\npath=acme/widgets\n\n", "over https"},
		{"another repository", "protocol=https\nhost=github.com\npath=other/x\n\n", "allowed: acme/*"},
		{"no repository", "protocol=https\nhost=github.com\n\n", "name one of acme/*"},
	} {
		r := w.ask(agent.Token, c.payload)
		if r.Exit != 1 || len(r.Stdout) > 0 || !strings.Contains(string(r.Stderr), c.why) || strings.Count(string(r.Stderr), "\n") != 1 {
			t.Errorf("%s: %+v, want exit 1 and one line with %q", c.name, r, c.why)
		}
	}
	if w.calls.Load() != 0 {
		t.Errorf("the source was asked %d times, want 0", w.calls.Load())
	}
}

// numberedSource gives a different token each time.
type numberedSource struct {
	operationSource
	asked *atomic.Int64
}

func (s numberedSource) Token(_ context.Context, req credential.Request) (credential.Token, error) {
	return credential.NewToken(fmt.Sprint("tok-", req.Operation, s.asked.Add(1)), time.Now().Add(time.Hour)), nil
}

// After a revocation a user's program gets a token that works: git receives the 401 and
// tells the agent, or the user asks for a fresh one.
func TestAGrantAfterARevocation(t *testing.T) {
	w := newWorld(t)
	source := numberedSource{asked: new(atomic.Int64)}
	s := &Server{Config: w.config, Open: func(*config.Workspace) (credential.Source, error) { return source, nil }}
	s.prepare()
	token := func(operation string) string {
		t.Helper()
		r := s.answer(t.Context(), agent.Call{Operation: operation, Config: w.config, Timeout: time.Minute, Payload: []byte(widgets)}, 0)
		var g agent.Grant
		if err := json.Unmarshal(r.Stdout, &g); err != nil {
			t.Fatalf("%s = %q, %q: %v", operation, r.Stdout, r.Stderr, err)
		}
		return g.Token
	}
	for _, c := range []struct{ operation, want string }{
		{agent.TokenWrite, "tok-write1"},
		{agent.TokenRead, "tok-read2"},
		{agent.TokenWrite, "tok-write1"},
		{agent.TokenWrite + agent.Fresh, "tok-write3"},
		{agent.TokenWrite, "tok-write3"},
		{agent.TokenRead + agent.Fresh, "tok-read4"},
		{agent.TokenRead, "tok-read4"},
	} {
		if got := token(c.operation); got != c.want {
			t.Errorf("%s = %s, want %s", c.operation, got, c.want)
		}
	}
	erase := strings.TrimSuffix(widgets, "\n") + "username=x-access-token\npassword=tok-write3\n\n"
	s.answer(t.Context(), agent.Call{Operation: agent.Erase, Config: w.config, Timeout: time.Minute, Payload: []byte(erase)}, 0)
	if got := token(agent.TokenWrite); got != "tok-write5" {
		t.Errorf("after git's erase: %s, want a new one", got)
	}
	if got := token(agent.TokenRead); got != "tok-read6" {
		t.Errorf("the token for reading after git's erase of the other: %s, want a new one", got)
	}
	if got := token(agent.TokenRead); got != "tok-read6" {
		t.Errorf("the new token for reading: %s, want it kept", got)
	}
}
