package command

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/forward"
	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/internal/usererr"
)

// RequestToken makes the call within the time limit of git's helper. A signal ends the
// wait.
func (a *Environment) RequestToken(ctx context.Context, call agent.Call) (agent.Grant, error) {
	type result struct {
		reply agent.Reply
		err   error
	}
	done := make(chan result, 1)
	deadline := time.Now().Add(forward.Timeout(a.Getenv))
	defer a.Wait("the agent, which asks the source for a token")()
	go func() {
		reply, err := agent.Ask(call, a.Getenv, deadline)
		done <- result{reply, err}
	}()
	select {
	case <-ctx.Done():
		return agent.Grant{}, usererr.New("ask "+agent.Program, "it was interrupted", "")
	case r := <-done:
		if r.err != nil {
			return agent.Grant{}, forward.ErrorFor(r.err)
		}
		return grantIn(r.reply)
	}
}

// grantIn reads the agent's answer. If the agent refused, its line is the error.
func grantIn(r agent.Reply) (agent.Grant, error) {
	if line := strings.TrimPrefix(strings.TrimSpace(string(r.Stderr)), "gatepass: "); line != "" {
		return agent.Grant{}, errors.New(line)
	}
	var grant agent.Grant
	if err := json.Unmarshal(r.Stdout, &grant); err != nil || grant.Token == "" {
		// The error does not repeat the text, which may hold a token.
		return grant, usererr.New("ask "+agent.Program, "its answer is not a token; it may have another version", "stop it with gatepass agent stop")
	}
	return grant, nil
}

// GatewayWorkspace returns the workspace file, with the gateway that it names or that
// gatepass install configured in git. It returns nil if there is no gateway, or if the
// file cannot be read: the caller that needs the file reports that.
func (a *Environment) GatewayWorkspace(ctx context.Context) (*config.Workspace, error) {
	path, err := config.Path(a.Getenv)
	if err != nil {
		return nil, err
	}
	workspace, err := config.Load(path)
	if err != nil {
		return nil, nil
	}
	if !workspace.Gateway.IsZero() {
		return workspace, nil
	}
	text := hooks.InstalledGateway(ctx)
	if text == "" {
		return nil, nil
	}
	installed, err := config.ParseGateway(text)
	if err == nil {
		workspace, err = workspace.Through(installed)
	}
	if err != nil {
		return nil, usererr.Wrap("use git's gateway", err, "run gatepass install, or gatepass uninstall")
	}
	return workspace, nil
}

// RequestSession asks the agent for a session of the workspace's gateway: for one
// repository or, with an empty repo, for all repositories of the workspace.
func (a *Environment) RequestSession(ctx context.Context, workspace *config.Workspace, repo, fresh string) (agent.Grant, error) {
	call := agent.Call{Operation: agent.Through(agent.Session+fresh, workspace.Gateway.String()), Config: workspace.Path}
	call.Payload = []byte("protocol=https\nhost=" + workspace.Hosts[0] + "\n")
	if repo != "" {
		call.Payload = append(call.Payload, "path="+repo+"\n"...)
	}
	return a.RequestToken(ctx, call)
}
