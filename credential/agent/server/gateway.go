package server

import (
	"context"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/usererr"
)

// throughGateway returns a Source that answers git's requests for the workspace's
// gateway from sessions, if they are for allowed repositories. It refuses requests for
// the workspace's hosts, which git reaches only through the gateway, and answers all
// others with ErrNoCredential. It is the outermost wrapper, like [credential.OnlyHosts]
// for a workspace without a gateway.
func throughGateway(w *config.Workspace, sessions credential.Source, allowed credential.Repositories) credential.Source {
	isAllowed := credential.OnlyRepositories(answerAll, allowed)
	return credential.SourceFunc(func(ctx context.Context, req credential.Request) (credential.Token, error) {
		switch {
		case req.Protocol == w.Gateway.Scheme() && req.Host == w.Gateway.Host():
			asked := req
			asked.Host, asked.Path = w.Gateway.Repository(req.Path, w.Hosts)
			if _, err := isAllowed.Token(ctx, asked); err != nil {
				return credential.Token{}, err
			}
			return sessions.Token(ctx, req)
		case isHost(w, req):
			return credential.Token{}, usererr.New("token for https://"+req.Host+"/"+req.Path,
				"git goes through the gateway "+w.Gateway.String()+", and this workspace has no token", "run gatepass install to configure git; if that is done, run gatepass doctor")
		}
		return credential.Token{}, credential.ErrNoCredential
	})
}

// answerAll answers every request without a token or an error.
var answerAll = credential.SourceFunc(func(context.Context, credential.Request) (credential.Token, error) {
	return credential.Token{}, nil
})

// isHost reports whether req is for one of the workspace's hosts.
func isHost(w *config.Workspace, req credential.Request) bool {
	_, err := credential.OnlyHosts(answerAll, w.Hosts...).Token(context.Background(), req)
	return err == nil
}

// session answers a program that calls GitHub's API through the gateway. req is for a
// repository of one of the workspace's hosts or, without a path, for all repositories
// of the workspace.
func (p *pipeline) session(ctx context.Context, req credential.Request) (credential.Token, error) {
	w := p.workspace
	if w.Gateway.IsZero() {
		return credential.Token{}, usererr.New("get a session", w.Path+" has no gateway", "add gateway: https://BROKER to it, or ask for a token with gatepass token")
	}
	if !isHost(w, req) {
		return credential.Token{}, credential.ErrNoCredential
	}
	if req.Path != "" {
		if _, err := credential.OnlyRepositories(answerAll, w.Repositories).Token(ctx, req); err != nil {
			return credential.Token{}, err
		}
	}
	return p.cache.Token(ctx, req)
}

// noToken returns why a workspace with a gateway gets no token for operation; nil if it
// may get one.
func (p *pipeline) noToken(operation string) error {
	g := p.workspace.Gateway
	if g.IsZero() || operation != agent.Token && operation != agent.TokenRead && operation != agent.TokenWrite {
		return nil
	}
	return usererr.New("get a token", "this workspace has none: git and programs go through the gateway "+g.String(),
		"use git as it is, and gatepass exec -- COMMAND for a program that calls GitHub's API")
}
