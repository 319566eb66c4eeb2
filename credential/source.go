// Package credential answers git's requests: which URL may be accessed, and with what
// token. It decides and caches. Tokens come from a [Source], and package protocol
// parses git's requests.
//
// The order of the wrappers is part of the safety: OnlyHosts outermost, then
// OnlyRepositories, then the Cache, then the source. A warm cache must never answer a
// request that the outer two would refuse.
package credential

import (
	"context"
	"errors"

	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

// ErrNoCredential reports that a Source understood the request and has no credential
// for it. The helper then prints nothing and exits 0, so that git asks its next helper.
// Any other error is a failure and is shown to the user.
var ErrNoCredential = errors.New("no credential for this request")

// A Request is what git wants to access.
type Request = protocol.Request

// A Source returns the token for a request.
//
// Implementations read one place (SSM, Vault, a broker, the OS keyring) and do not
// cache; [Cache] is a Source that wraps another one. They return [ErrNoCredential] for
// requests that they do not serve.
type Source interface {
	Token(ctx context.Context, req Request) (Token, error)
}

// A Keyer is a Source that says which requests share a token. The cache uses one token
// for all requests with the same key. Without a Keyer, every repository has its own
// token.
type Keyer interface {
	Key(req Request) string
}

// KeyOf returns the key under which the token of src for req is cached: that of a
// [Keyer], or the repository.
func KeyOf(src Source, req Request) string {
	if k, ok := src.(Keyer); ok {
		return k.Key(req)
	}
	return req.Host + "\n" + req.Path
}

// A Rejecter is a Source that stores tokens itself and must know which ones a server
// refused. print is the token's [Token.Fingerprint], and req the request for which it
// was refused.
type Rejecter interface {
	Reject(req Request, print string)
}

// SourceFunc is a function as a Source.
type SourceFunc func(ctx context.Context, req Request) (Token, error)

// Token calls f.
func (f SourceFunc) Token(ctx context.Context, req Request) (Token, error) { return f(ctx, req) }

// OnlyHosts returns a Source that passes requests for the given https hosts to src and
// answers every other request with ErrNoCredential. It must be the outermost wrapper:
// no token is fetched or printed for any other host. Hosts are compared exactly, in the
// form of [gitname.Host].
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

// OnlyRepositories returns a Source that passes requests for the allowed repositories
// to src and returns an error for every other one, without asking src.
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
		return usererr.New("token for https://"+req.Host, "the workspace file lists repositories, but git sent no path",
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

type withoutCacheKey struct{}

// WithoutCache returns a context for a request that must not be answered from a cache: the
// source is asked and, if that fails, there is no token.
func WithoutCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutCacheKey{}, true)
}

// IsWithoutCache reports whether a cache must ask its source.
func IsWithoutCache(ctx context.Context) bool { return ctx.Value(withoutCacheKey{}) != nil }
