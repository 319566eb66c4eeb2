// Package doctor looks at how git and gatepass are set up on this machine, and
// says of each thing whether it would work and what mends it.
//
// It changes nothing and shows no secret. Every probe is bounded and they run
// together, so that the whole takes less than two seconds.
package doctor

import (
	"context"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/install"
	"github.com/gatepass/gatepass/internal/config"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/transport"
)

// A Level says how bad a finding is.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warning Level = "warning" // it works, but not as safely as it could, or not for everything
	Failure Level = "failure" // something would not work, or would not be safe
)

// A Finding is one thing that was looked at.
type Finding struct {
	Group string `json:"group"`
	Level Level  `json:"level"`
	Text  string `json:"text"`           // may hold text from outside; escape it
	Mend  string `json:"mend,omitempty"` // a command, or else what to do
}

// Options are what the doctor is told. Getenv and Dir are required.
type Options struct {
	Getenv  func(string) string
	Environ []string // the whole environment, for what git is started with
	Dir     string   // the working directory, absolute
	Online  bool     // also ask the configured hosts for the time
}

const (
	factsWait = 700 * time.Millisecond  // for reading configuration
	probeWait = 1100 * time.Millisecond // for each probe; they run together
)

// A chart holds the facts that several probes look at.
type chart struct {
	Options
	path      string // of the workspace file
	workspace *config.Workspace
	policy    *hooks.RefPolicy // nil where it does not compile
	loadErr   error

	hosts    []string
	gits     []install.Git
	settings []gitconfig.Setting // as the first git has them here
	gitErr   error
}

// A probe looks at one subject. It must end soon after its context does.
type probe struct {
	group string
	look  func(*chart, context.Context) []Finding
}

var probes = []probe{
	{"workspace file", (*chart).lookAtWorkspace},
	{"git", (*chart).lookAtGits},
	{"credentials", (*chart).lookAtHelpers},
	{"credentials", (*chart).lookAtAskpass},
	{"push guard", (*chart).lookAtHooks},
	{"push guard", (*chart).pushScratch},
	{"push guard", (*chart).lookAtPolicy},
	{"connection", (*chart).lookAtTransport},
	{"connection", (*chart).lookAtTracing},
	{"connection", (*chart).lookAtClock},
	{"agent", (*chart).lookAtAgent},
}

// Run looks at everything. The findings are in a fixed order of groups.
func Run(ctx context.Context, o Options) []Finding {
	c := gather(ctx, o)
	found := make([]chan []Finding, len(probes))
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	for i, p := range probes {
		found[i] = make(chan []Finding, 1)
		go func() { found[i] <- p.look(c, ctx) }()
	}
	late := time.After(probeWait + 50*time.Millisecond)
	var all []Finding
	for i, p := range probes {
		select {
		case list := <-found[i]:
			for _, f := range list {
				f.Group = p.group
				all = append(all, f)
			}
		case <-late:
			late = closed // no other is waited for either
			all = append(all, Finding{p.group, Warning, "no answer within " + probeWait.String(), "run gatepass doctor again"})
		}
	}
	return all
}

var closed = func() <-chan time.Time { c := make(chan time.Time); close(c); return c }()

// gather reads what the probes share.
func gather(ctx context.Context, o Options) *chart {
	ctx, cancel := context.WithTimeout(ctx, factsWait)
	defer cancel()
	c := &chart{Options: o, hosts: []string{config.DefaultHost}}
	var wg sync.WaitGroup
	wg.Go(func() { c.gits = install.Gits(ctx, o.Getenv) })
	wg.Go(func() { c.settings, c.gitErr = c.readSettings(ctx, "git") })
	if c.path, c.loadErr = config.Path(o.Getenv); c.loadErr == nil {
		c.workspace, c.loadErr = config.Load(c.path)
	}
	if c.workspace != nil {
		c.hosts = c.workspace.Hosts
		c.policy, _ = hooks.CompileRefs(c.workspace.Refs)
	}
	wg.Wait()
	return c
}

// git returns the git that users get, and whether there is one.
func (c *chart) git() (install.Git, bool) {
	if len(c.gits) == 0 {
		return install.Git{}, false
	}
	return c.gits[0], true
}

// subject is a repository to try things with: one that the working directory
// comes from, else one that the workspace file names. The path is "" where
// there is none.
func (c *chart) subject() transport.Target {
	for _, s := range c.settings {
		section, _, name := s.Parts()
		if section == "remote" && name == "url" {
			if t, ok := c.served(transport.Split(s.Value)); ok {
				return t
			}
		}
	}
	if c.workspace != nil {
		for _, pattern := range c.workspace.Repositories.Patterns() {
			if t, ok := c.served(transport.Target{Host: c.hosts[0], Path: pattern}); ok {
				return t
			}
		}
	}
	return transport.Target{Host: c.hosts[0]}
}

// served reports whether t is one repository that this workspace may reach.
func (c *chart) served(t transport.Target) (transport.Target, bool) {
	host, ok := protocol.CanonicalHost(t.Host)
	owner, name, named := protocol.Request{Path: t.Path}.Repository()
	if !ok || !named || c.workspace != nil && !c.workspace.Repositories.Match(owner, name) {
		return t, false
	}
	for _, h := range c.hosts {
		if h == host {
			return transport.Target{Host: host, Path: t.Path}, true
		}
	}
	return t, false
}
