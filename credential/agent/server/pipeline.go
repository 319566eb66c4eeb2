package server

import (
	"context"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/filestamp"
	"github.com/gatepass/gatepass/internal/usererr"
)

// OperationAware is a Source that may look at a request's Operation. Only for one
// that says so does the agent look what git is doing, which costs as much as all the rest
// of a warm answer.
type OperationAware interface {
	credential.Source
	UsesOperation() bool
}

// A Warner is a Source that does its work, but not all that the workspace file
// asks for. Warning says what is amiss, and is nil while nothing is.
type Warner interface {
	credential.Source
	Warning() error
}

// An Upkeeper is a Source with something of its own to keep alive, such as a
// login. Upkeep may take a while; it is called from time to time and ended with
// the agent.
type Upkeeper interface {
	credential.Source
	Upkeep(ctx context.Context)
}

// A Stayer is a Source that may have something that is lost with the process and
// cannot be had again, such as a session that a join token gave. Where NeedsAgent
// reports so, the agent does not leave for being idle, and nothing is asked where
// no agent stays.
type Stayer interface {
	credential.Source
	NeedsAgent() bool
}

// A pipeline is one reading of the workspace file made into something that
// answers: OnlyHosts(OnlyRepositories(orRead(Cache(source)))), and with a gateway
// throughGateway(Cache(sessions)).
type pipeline struct {
	workspace *config.Workspace
	source    credential.Source
	cache     *credential.Cache
	responder credential.Responder
	names     credential.Source // answers who may be asked about, without the source
	hosts     credential.Source // the same, for the hosts alone

	needsAgent    bool // the source is a Stayer that does
	asksOperation bool // the source gives other tokens for reading than for writing
}

func newPipeline(w *config.Workspace, open Opener) (*pipeline, error) {
	src, err := open(w)
	if err != nil {
		return nil, err
	}
	cache := &credential.Cache{Source: src}
	if w.Source.Scheme == "file" {
		cache.Negative = -1 // a file is asked again for nothing; whoever mends it tries at once
	}
	fence := func(s credential.Source, allowed credential.Repositories) credential.Source {
		if !w.Gateway.IsZero() {
			return throughGateway(w, s, allowed)
		}
		return credential.OnlyHosts(credential.OnlyRepositories(s, allowed), w.Hosts...)
	}
	aware, ok := src.(OperationAware)
	stayer, isStayer := src.(Stayer)
	return &pipeline{
		needsAgent:    isStayer && stayer.NeedsAgent(),
		asksOperation: ok && aware.UsesOperation(),

		workspace: w,
		source:    src,
		cache:     cache,
		responder: credential.Responder{Source: fence(orRead{cache}, w.Repositories), Cache: cache},
		names:     fence(anything, w.Repositories),
		hosts:     fence(anything, credential.AnyRepository()),
	}, nil
}

// reads returns the groups of variables that the source and its transport read.
// A session is one for the user, however the environments of those who ask differ:
// another agent could not get it.
func (p *pipeline) reads() string {
	var reads string
	source := p.workspace.Source
	switch {
	case p.needsAgent, source.Scheme == "file":
	case source.Scheme == "keyring":
		reads = agent.ReadsKeyring
	case source.Scheme == "vault":
		reads = agent.ReadsHome + agent.ReadsNetwork + agent.ReadsVault
	case source.Scheme == "ssm":
		reads = agent.ReadsHome + agent.ReadsNetwork + agent.ReadsAWS
	case strings.HasPrefix(source.Scheme, "broker+") && source.Query().Get("auth") != "aws":
		reads = agent.ReadsIdentity + agent.ReadsNetwork
	default:
		reads = agent.ReadsIdentity + agent.ReadsHome + agent.ReadsNetwork + agent.ReadsAWS
	}
	if p.workspace.Cache == config.CacheKeyring && reads != agent.ReadsKeyring {
		reads += agent.ReadsKeyring
	}
	return reads
}

// upkeep fetches tokens ahead and lets the source look after itself. It does not
// wait.
func (p *pipeline) upkeep(ctx context.Context) {
	p.cache.Refresh(ctx)
	if u, ok := p.source.(Upkeeper); ok {
		go u.Upkeep(ctx)
	}
}

// A loader keeps the pipeline of the workspace file as it is now: a changed file
// is read anew, and a file that cannot be read answers with its error, never
// with what it said before. One that is as it was when nobody else could change
// or replace it needs no look at who can by now.
type loader struct {
	path string
	open Opener

	mu      sync.Mutex // guards the rest
	stamp   filestamp.Stamp
	pipe    *pipeline
	err     error
	through *pipeline // the same file through a gateway that it does not name; nil until it is asked for
}

func (l *loader) load() (*pipeline, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := filestamp.Of(l.path)
	if err == nil && now == l.stamp && l.err == nil {
		return l.pipe, nil
	}
	l.stamp = now
	l.pipe, l.err = l.read()
	l.through = nil
	return l.pipe, l.err
}

// loadThrough is load where git was told of a gateway, whether the file names it or not. An
// empty text is none.
func (l *loader) loadThrough(gateway string) (*pipeline, error) {
	p, err := l.load()
	if err != nil || gateway == "" || p.workspace.Gateway.String() == gateway {
		return p, err
	}
	g, err := config.ParseGateway(gateway)
	if err != nil {
		return nil, usererr.Wrap("ask the agent", err, "run gatepass install")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.through != nil && l.through.workspace.Gateway == g {
		return l.through, nil
	}
	w, err := p.workspace.Through(g)
	if err != nil {
		return nil, usererr.Wrap("read the workspace file "+l.path, err, "")
	}
	l.through, err = newPipeline(w, l.open)
	return l.through, err
}

func (l *loader) read() (*pipeline, error) {
	w, err := config.Load(l.path)
	if err != nil {
		return nil, err
	}
	if w.Source == nil {
		return nil, usererr.New("read the workspace file "+l.path, "it names no source", "add source: URL")
	}
	return newPipeline(w, l.open)
}

// current are the pipelines as they were read last, none before the first reading.
func (l *loader) current() (list []*pipeline) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range []*pipeline{l.pipe, l.through} {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}
