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

// OperationAware is a Source that may read a request's Operation. Finding out what git
// is doing costs as much as the rest of a warm answer, so the agent does it only if
// UsesOperation returns true.
type OperationAware interface {
	credential.Source
	UsesOperation() bool
}

// A Warner is a Source that works, but without something that the workspace file asks
// for. Warning says what is missing, or returns nil.
type Warner interface {
	credential.Source
	Warning() error
}

// An Upkeeper is a Source that keeps something alive, such as a login. The agent calls
// Upkeep from time to time; a call may take a while, and its context ends with the
// agent.
type Upkeeper interface {
	credential.Source
	Upkeep(ctx context.Context)
}

// A Stayer is a Source that may hold something that cannot be replaced once the process
// has ended, such as a session that a join token gave. While NeedsAgent returns true,
// the agent does not exit when idle. Without a resident agent, such a source is not
// asked at all.
type Stayer interface {
	credential.Source
	NeedsAgent() bool
}

// A pipeline answers requests according to one version of the workspace file:
// OnlyHosts(OnlyRepositories(orRead(Cache(source)))), and with a gateway
// throughGateway(Cache(sessions)).
type pipeline struct {
	workspace *config.Workspace
	source    credential.Source
	cache     *credential.Cache
	responder credential.Responder
	names     credential.Source // checks whether a request is allowed, without asking the source
	hosts     credential.Source // the same check for the host only

	needsAgent    bool // the source is a Stayer whose NeedsAgent is true
	asksOperation bool // the source gives different tokens for reading and writing
}

func newPipeline(w *config.Workspace, open Opener) (*pipeline, error) {
	src, err := open(w)
	if err != nil {
		return nil, err
	}
	cache := &credential.Cache{Source: src}
	if w.Source.Scheme == "file" {
		cache.Negative = -1 // asking a file again costs nothing, and the user who repairs it wants to retry at once
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
		names:     fence(answerAll, w.Repositories),
		hosts:     fence(answerAll, credential.AnyRepository()),
	}, nil
}

// reads returns the groups of variables that the source and its transport read. A
// source that needs the agent reads none: its session is for the user, whatever the
// callers' environments, because another agent could not get one.
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

// upkeep fetches tokens ahead of time and calls the source's Upkeep. It does not wait
// for either.
func (p *pipeline) upkeep(ctx context.Context) {
	p.cache.Refresh(ctx)
	if u, ok := p.source.(Upkeeper); ok {
		go u.Upkeep(ctx)
	}
}

// A loader holds the pipeline of the current workspace file. It rereads a changed file,
// and answers with the error of a file that it cannot read, never with the previous
// content. It does not check the owner and permissions of an unchanged file again.
type loader struct {
	path string
	open Opener

	mu      sync.Mutex // guards the rest
	stamp   filestamp.Stamp
	pipe    *pipeline
	err     error
	through *pipeline // the same file with a gateway that it does not name; nil until a caller asks for it
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

// loadThrough is like load, for callers whose git is configured with a gateway, whether
// or not the file names it. An empty gateway means none.
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
		return nil, usererr.New("read the workspace file "+l.path, "it has no source", "add source: URL")
	}
	return newPipeline(w, l.open)
}

// current returns the pipelines that were loaded last, or nil before the first load.
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
