// Package credential answers git's questions: who may reach this URL, and with
// what token. It decides and caches; it knows nothing about where tokens come
// from, which is a [Source], nor how git's request is spelled, which is package
// protocol.
//
// The order of the wrappers is part of the safety: OnlyHosts outermost, then
// OnlyRepositories, then the Cache, then the source. A warm cache must never
// answer what the outer two would refuse.
package credential

import (
	"context"
	"errors"

	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

// ErrNoCredential reports that a Source understood the request and has nothing
// to offer. The helper then prints nothing and exits 0, so git moves on to its
// next helper. Any other error is a failure and is shown to the user.
var ErrNoCredential = errors.New("no credential for this request")

// A Request is what git says it wants to reach.
type Request = protocol.Request

// A Source produces the token for one request.
//
// Implementations read one place (SSM, Vault, a broker, the OS keyring) and do
// not cache; [Cache] is a Source that wraps another. They return
// [ErrNoCredential] when the request is not theirs to answer.
type Source interface {
	Token(ctx context.Context, req Request) (Token, error)
}

// A Keyer is a Source that says which requests share a token. Two requests with
// the same key get the same token from the cache. Without it every repository
// has its own.
type Keyer interface {
	Key(req Request) string
}

// KeyOf returns what src keeps req's token under, as a [Keyer] or by the
// repository.
func KeyOf(src Source, req Request) string {
	if k, ok := src.(Keyer); ok {
		return k.Key(req)
	}
	return req.Host + "\n" + req.Path
}

// A Rejecter is a Source that keeps tokens of its own and wants to know which
// ones a server refused. print is the token's [Token.Fingerprint], req the
// request it was refused for.
type Rejecter interface {
	Reject(req Request, print string)
}

// SourceFunc is a function as a Source.
type SourceFunc func(ctx context.Context, req Request) (Token, error)

// Token calls f.
func (f SourceFunc) Token(ctx context.Context, req Request) (Token, error) { return f(ctx, req) }

// OnlyHosts returns a Source that hands requests for the given https hosts to
// src and answers every other request with ErrNoCredential. It is the outermost
// wrapper: no token is fetched, let alone printed, for any other host. Hosts
// are compared exactly, in the form of [gitname.Host].
func OnlyHosts(src Source, hosts ...string) Source {
	allowed := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		if canonical, ok := gitname.Host(h); ok {
			allowed[canonical] = true
		}
	}
	return SourceFunc(func(ctx context.Context, req Request) (Token, error) {
		host, ok := gitname.Host(req.Host)
		if req.Protocol != "https" || !ok || !allowed[host] {
			return Token{}, ErrNoCredential
		}
		return src.Token(ctx, req)
	})
}

// OnlyRepositories returns a Source that hands requests for the allowed
// repositories to src and fails for every other one, without asking src.
func OnlyRepositories(src Source, allowed Repositories) Source {
	return SourceFunc(func(ctx context.Context, req Request) (Token, error) {
		if err := allowed.check(req); err != nil {
			return Token{}, err
		}
		return src.Token(ctx, req)
	})
}

func (r Repositories) check(req Request) error {
	if r.any {
		return nil
	}
	what := "token for https://" + req.Host + "/" + req.Path
	if req.Path == "" {
		return usererr.New("token for https://"+req.Host, "the workspace file lists repositories and git sent no path",
			"run git config --global credential.useHttpPath true, or gatepass install")
	}
	owner, name, ok := req.Repository()
	if !ok {
		return usererr.New(what, "the path is not owner/repository", "use a URL of the form https://"+req.Host+"/owner/repository")
	}
	if !r.Match(owner, name) {
		return usererr.New(what, "repository "+owner+"/"+name+" is not in this workspace's repos", "allowed: "+r.String())
	}
	return nil
}
