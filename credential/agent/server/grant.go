package server

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/usererr"
)

// grant answers with the token or session for req, after the same checks as for git's
// requests. Repositories and permissions are null if the source does not report them.
func (p *pipeline) grant(ctx context.Context, req credential.Request, operation string) agent.Reply {
	req.Operation = operation
	for _, o := range operations(operation) {
		asked := req
		if asked.Operation = o; p.cache.IsSuspect(asked) {
			ctx = credential.WithoutCache(ctx)
		}
	}
	source := p.responder.Source
	if operation == forAPI {
		source = credential.SourceFunc(p.session)
	}
	tok, err := source.Token(ctx, req)
	if err != nil {
		return agent.Reply{Exit: 1, Stderr: []byte(usererr.Line(p.explain(ctx, req, err)))}
	}
	return describe(tok)
}

// explain rewords refusals whose wording is for git.
func (p *pipeline) explain(ctx context.Context, req credential.Request, err error) error {
	if errors.Is(err, credential.ErrNoCredential) {
		return usererr.New("token for "+req.Protocol+"://"+req.Host, "this workspace does not serve that host",
			"it serves "+strings.Join(p.workspace.Hosts, ", ")+" over https")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return usererr.New("get a token", "the source did not answer in time", "try again, or set a longer GATEPASS_TIMEOUT")
	}
	if req.Operation == forAPI {
		return err
	}
	if _, refused := p.names.Token(ctx, req); refused != nil && req.Path == "" {
		return usererr.New("token for https://"+req.Host, "the workspace file lists repositories, but the request names none",
			"name one of "+p.workspace.Repositories.String())
	}
	return err
}

func describe(tok credential.Token) agent.Reply {
	text, err := json.Marshal(agent.Grant{
		Token: tok.Secret(), Username: tok.Login(), ExpiresAt: tok.Expiry.UTC().Truncate(time.Second), Hash: tok.Hash(),
		Repositories: tok.Repositories, Permissions: tok.Permissions, Refs: tok.Refs, Author: tok.Author,
	})
	if err != nil { // never: JSON can represent everything in it
		return agent.Reply{Exit: 1, Stderr: []byte(usererr.Line(errors.New("describe the token: it cannot be encoded as JSON")))}
	}
	return agent.Reply{Stdout: append(text, '\n')}
}
