package server

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
)

// answer executes a call. pid is the caller's process, and ctx the agent's context.
func (s *Server) answer(ctx context.Context, c agent.Call, pid int) agent.Reply {
	var gateway string
	c.Operation, gateway, _ = strings.Cut(c.Operation, "@") // see agent.Through
	switch c.Operation {
	case agent.Status:
		return s.status()
	case agent.Stop:
		s.stop()
		return agent.Reply{}
	}
	if c.Config != s.Config || s.place.Identity != "" && c.Identity != s.place.Identity {
		return failed(c, usererr.New("ask the agent", "it does not serve "+c.Config+" with this environment", "run gatepass agent stop"))
	}
	switch c.Operation {
	case agent.PushRefused:
		s.reportPush(ctx, c.Payload)
		return agent.Reply{}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := protocol.ParseRequest(c.Payload)
	if err != nil {
		return agent.Reply{}
	}
	p, err := s.loader.loadThrough(gateway)
	if err != nil {
		return failed(c, err)
	}
	if s.isOnce && p.needsAgent {
		return failed(c, usererr.New("ask the source", "it needs an agent that keeps running: this process would lose the session", "set XDG_RUNTIME_DIR to a directory of this user, and remove cache: none from the workspace file"))
	}
	if err := p.checkTransport(ctx, c.Operation, pid, req); err != nil {
		return failed(c, err)
	}
	if operation, isFresh := strings.CutSuffix(c.Operation, agent.Fresh); isFresh {
		ctx, c.Operation = credential.WithoutCache(ctx), operation
	}
	if err := p.noToken(c.Operation); err != nil {
		return failed(c, err)
	}
	switch {
	case c.Operation == agent.Session:
		return p.grant(ctx, req, forAPI)
	case c.Operation == agent.Token:
		return p.grant(ctx, req, either)
	case c.Operation == agent.TokenWrite:
		return p.grant(ctx, req, write)
	case c.Operation == agent.TokenRead:
		return p.grant(ctx, req, read)
	case p.asksOperation:
		req.Operation = gitOperation(pid)
	}
	if applyOwnHeader(ctx, c.Operation, pid, &req) {
		return agent.Reply{}
	}
	if len(req.State) > 0 && askedByLFS(pid) {
		req.State, req.Multi = nil, false
	}
	return reply(p.answer(ctx, c.Operation, req))
}

func (p *pipeline) answer(ctx context.Context, operation string, req credential.Request) credential.Answer {
	switch operation {
	case agent.Get:
		return p.responder.Get(ctx, req)
	case agent.Erase:
		return p.erase(ctx, req)
	case agent.Password:
		return p.responder.Password(ctx, req)
	case agent.Username:
		return p.username(ctx, req)
	}
	return credential.Answer{}
}

// erase accepts only our hosts: another host must not make the agent drop a token, even
// one of ours.
func (p *pipeline) erase(ctx context.Context, req credential.Request) credential.Answer {
	if _, err := p.hosts.Token(ctx, req); err != nil {
		return credential.Answer{}
	}
	for _, op := range operations(req.Operation) {
		req.Operation = op
		p.responder.Erase(req)
	}
	return credential.Answer{}
}

// username answers the first question of askpass from the workspace file alone. The
// source is asked once, for the password.
func (p *pipeline) username(ctx context.Context, req credential.Request) credential.Answer {
	if _, err := p.names.Token(ctx, req); err != nil {
		return credential.Answer{Exit: 1}
	}
	return credential.Answer{Stdout: []byte(credential.DefaultUsername + "\n")}
}

func reply(a credential.Answer) agent.Reply {
	return agent.Reply{Exit: a.Exit, Stdout: a.Stdout, Stderr: []byte(a.Stderr)}
}

// failed returns the reply for a call that could not be processed at all.
func failed(c agent.Call, err error) agent.Reply {
	line := []byte(usererr.Line(err))
	switch c.Operation {
	case agent.Get:
		return agent.Reply{Stdout: []byte("quit=1\n"), Stderr: line}
	case agent.Erase:
		return agent.Reply{}
	case agent.Username, agent.Password:
		return agent.Reply{Exit: 1}
	}
	return agent.Reply{Exit: 1, Stderr: line}
}

func (p *pipeline) warning() string {
	if src, ok := p.source.(Warner); ok {
		if err := src.Warning(); err != nil {
			return err.Error()
		}
	}
	return ""
}

func (s *Server) status() agent.Reply {
	st := agent.State{
		PID: os.Getpid(), Config: s.Config, Started: s.started, IdleExit: s.Idle.String(),
		MemoryLocked: s.MemoryLocked, Version: version.String(), Program: s.Program, Replaced: s.replaced(), Variables: setVariables(s.reads), Tokens: []agent.HeldToken{},
	}
	p, err := s.loader.load()
	if err != nil {
		st.Problem = err.Error()
	}
	if p != nil {
		st.Warning = p.warning()
	}
	for _, p := range s.loader.current() {
		for _, h := range p.cache.Held() {
			st.Tokens = append(st.Tokens, agent.HeldToken{
				Host: h.Host, Path: h.Path, Hash: h.Token.Hash(), ExpiresAt: h.Token.Expiry, LastUsed: h.Used,
				Repositories: h.Token.Repositories, Permissions: h.Token.Permissions,
			})
		}
	}
	text, err := json.Marshal(st)
	if err != nil {
		return agent.Reply{Exit: 1, Stderr: []byte(usererr.Line(errors.New("describe the agent: " + err.Error())))}
	}
	return agent.Reply{Stdout: append(text, '\n')}
}

// setVariables returns the names of the variables that are set and that the source
// reads.
func setVariables(reads string) []string {
	var names []string
	for _, name := range agent.Variables(reads) {
		if os.Getenv(name) != "" {
			names = append(names, name)
		}
	}
	return names
}
