package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/forward"
	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// targetFlags say which token is meant.
func targetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "repo", Usage: "for `OWNER/NAME` instead of the working directory's repository"},
		&cli.StringFlag{Name: "host", Usage: "on `HOST[:PORT]`; with --repo alone, the workspace file's first"},
		&cli.StringFlag{Name: "operation", Value: protocol.OperationWrite, Usage: "for `WHAT`: read or write; where the source tells them apart. Without it, to write where that is allowed, else to read"},
		&cli.BoolFlag{Name: "fresh", Usage: "ask the source, whatever the agent has: after a 401, as when the token was revoked", DisableDefaultText: true},
	}
}

// granted asks the agent for the token that the options, or else the working
// directory, stand for.
func (w *app) granted(c *cli.Context) (place, agent.Grant, error) {
	operation, err := operationOf(c)
	if err != nil {
		return place{}, agent.Grant{}, err
	}
	path, err := config.Path(w.getenv)
	if err != nil {
		return place{}, agent.Grant{}, err
	}
	through, err := w.through(c.Context)
	if err != nil {
		return place{}, agent.Grant{}, err
	}
	if through != nil {
		return place{}, agent.Grant{}, usererr.New("get a token", "this workspace has none: git and programs go through the gateway "+through.Gateway.String(),
			"use git as it is, and gatepass exec -- COMMAND for a program that calls GitHub's API")
	}
	where, err := target(c, path)
	if err != nil {
		return place{}, agent.Grant{}, err
	}
	call := agent.Call{Operation: operation, Config: path, Payload: []byte("protocol=https\nhost=" + where.host + "\n")}
	if where.path != "" {
		call.Payload = append(call.Payload, "path="+where.path+"\n"...)
	}
	grant, err := w.ask(c.Context, call)
	return where, grant, err
}

func operationOf(c *cli.Context) (string, error) {
	fresh := ""
	if c.Bool("fresh") {
		fresh = agent.Fresh
	}
	switch o := c.String("operation"); o {
	case protocol.OperationWrite:
		if c.IsSet("operation") {
			return agent.TokenWrite + fresh, nil
		}
		return agent.Token + fresh, nil
	case protocol.OperationRead:
		return agent.TokenRead + fresh, nil
	default:
		return "", usage(c, fmt.Sprintf("--operation %q is neither read nor write", o))
	}
}

// target is the repository of the options. With neither of them it is the
// working directory's, which is not looked at otherwise.
func target(c *cli.Context, configPath string) (place, error) {
	host, repo := c.String("host"), c.String("repo")
	if c.IsSet("repo") {
		if _, _, ok := gitname.Path(repo); !ok {
			return place{}, usage(c, fmt.Sprintf("--repo %q is not OWNER/NAME", repo))
		}
	}
	if c.IsSet("host") {
		canonical, ok := gitname.Host(host)
		if !ok {
			return place{}, usage(c, fmt.Sprintf("--host %q is not HOST or HOST:PORT", host))
		}
		return place{canonical, repo}, nil
	}
	if !c.IsSet("repo") {
		return origin(c.Context)
	}
	workspace, err := config.Load(configPath)
	if err != nil {
		return place{}, err
	}
	return place{workspace.Hosts[0], repo}, nil
}

// ask makes the call within the time that git's helper would have. A signal
// meanwhile ends the wait.
func (w *app) ask(ctx context.Context, call agent.Call) (agent.Grant, error) {
	type result struct {
		reply agent.Reply
		err   error
	}
	done := make(chan result, 1)
	deadline := time.Now().Add(forward.Timeout(w.getenv))
	go func() {
		reply, err := agent.Ask(call, w.getenv, deadline)
		done <- result{reply, err}
	}()
	select {
	case <-ctx.Done():
		return agent.Grant{}, usererr.New("ask "+agent.Program, "it was interrupted", "")
	case r := <-done:
		if r.err != nil {
			return agent.Grant{}, forward.Trouble(r.err)
		}
		return grantIn(r.reply)
	}
}

// grantIn reads the agent's answer. Where it refused, its line is the error.
func grantIn(r agent.Reply) (agent.Grant, error) {
	if line := strings.TrimPrefix(strings.TrimSpace(string(r.Stderr)), "gatepass: "); line != "" {
		return agent.Grant{}, errors.New(line)
	}
	var grant agent.Grant
	if err := json.Unmarshal(r.Stdout, &grant); err != nil || grant.Token == "" {
		// The text is not repeated: it may hold a token.
		return grant, usererr.New("ask "+agent.Program, "its answer is not a token; it may be of another version", "stop it with gatepass agent stop")
	}
	return grant, nil
}
