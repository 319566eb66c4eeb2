// Package doctor checks how git and gatepass are set up on this machine ([Run]), and
// the issuing side: the store, the App and its key, where it is installed, and the
// ledger of workspaces ([Checkup]). For each thing it says whether it works and how to
// fix it.
//
// Only [Checkup.Fix] changes anything. The package shows no secret. All checks of a
// side run together and share one deadline.
package doctor

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/install"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/gitsafety"
)

// A Level says how bad a finding is.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warning Level = "warning" // it works, but not as safely as it could, or not in every case
	Failure Level = "failure" // it would not work, or would not be safe
)

// A Finding is the result of one check.
type Finding struct {
	Group string `json:"group"`
	Level Level  `json:"level"`
	Text  string `json:"text"`           // may hold text from outside; escape it before printing
	Fix   string `json:"mend,omitempty"` // a command, or another thing to do
}

// Options are the doctor's input. Getenv and Dir are required.
type Options struct {
	Getenv  func(string) string
	Environ []string // the whole environment, for git
	Dir     string   // the working directory, absolute
	Online  bool     // also ask the configured hosts for the time
	Proxies bool     // also find out which proxies are before the gateway, which takes longer than Limit; see [Proxies]

	// Limit limits the whole check; zero means DefaultLimit.
	Limit time.Duration
}

// DefaultLimit keeps the check under two seconds on a machine where things hang.
const DefaultLimit = 1800 * time.Millisecond

// A setup holds the facts that several checks use.
type setup struct {
	Options
	path      string // of the workspace file
	workspace *config.Workspace
	policy    *refs.Policy // nil if it does not compile
	loadErr   error

	hosts    []string
	gits     []install.Git
	settings []gitconfig.Setting // of the first git, in the working directory
	gitErr   error

	gateway          config.Gateway // the one that git uses; the zero Gateway for none
	installedGateway string         // the gateway that gatepass install configured in git
}

// A check is about one subject. It must end soon after its context.
type check struct {
	group string
	run   func(context.Context) []Finding
}

const guardGroup = "push guard"

// checks returns all checks, in the order of their output.
func (c *setup) checks() []check {
	return []check{
		{"workspace file", fileCheck{c}.checkFile},
		{"git", gitCheck{c}.check},
		{"gateway", gatewayCheck{c}.check},
		{"credentials", helperCheck{c}.check},
		{"credentials", helperCheck{c}.checkAskpass},
		{guardGroup, hookCheck{c}.check},
		{guardGroup, c.pushScratch},
		{guardGroup, fileCheck{c}.checkPolicy},
		{"connection", connectionCheck{c}.checkTransport},
		{"connection", connectionCheck{c}.checkTracing},
		{"connection", connectionCheck{c}.checkClock},
		{"agent", agentCheck{c}.check},
	}
}

// Run makes all checks. The findings are in a fixed order of groups.
func Run(ctx context.Context, o Options) []Finding {
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	c := gather(ctx, o)
	probes := c.checks()
	found := make([]chan []Finding, len(probes))
	for i, p := range probes {
		found[i] = make(chan []Finding, 1)
		go func() { found[i] <- p.run(ctx) }()
	}
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), remaining(ctx)+grace)
	defer stop()
	var all []Finding
	for i, p := range probes {
		list, ok := receive(late, found[i])
		if !ok {
			list = []Finding{{Level: Warning, Text: "no answer within " + o.Limit.String(), Fix: "gatepass doctor --timeout 20s"}}
		}
		for _, f := range list {
			f.Group = p.group
			if f.Group == guardGroup && f.Level == Failure && !c.gateway.IsZero() {
				f.Level = Warning // the gateway refuses what the guard would refuse
			}
			all = append(all, f)
		}
	}
	if o.Proxies {
		all = append(all, gatewayCheck{c}.checkProxies(context.WithoutCancel(ctx))...)
	}
	return all
}

// grace is how long a check may take to report that it ran out of time.
const grace = 100 * time.Millisecond

// remaining is the time left until the deadline of ctx.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return DefaultLimit
	}
	return time.Until(deadline)
}

// receive takes a value from the channel before ctx ends. It takes a value that is
// already there even after that.
func receive[T any](ctx context.Context, from <-chan T) (value T, ok bool) {
	select {
	case value = <-from:
		return value, true
	default:
	}
	select {
	case value = <-from:
		return value, true
	case <-ctx.Done():
		return value, false
	}
}

// gather reads the facts that the checks share, in at most half of the time.
func gather(ctx context.Context, o Options) *setup {
	ctx, cancel := context.WithTimeout(ctx, o.Limit/2)
	defer cancel()
	c := &setup{Options: o, hosts: []string{config.DefaultHost}}
	gits, lists := make(chan []install.Git, 1), make(chan listing, 1)
	go func() { gits <- install.Gits(ctx, o.Getenv) }()
	go func() { lists <- c.readSettings(ctx, "git") }()
	if c.path, c.loadErr = config.Path(o.Getenv); c.loadErr == nil {
		c.workspace, c.loadErr = config.Load(c.path)
	}
	if c.workspace != nil {
		c.hosts = c.workspace.Hosts
		c.policy, _ = refs.Compile(c.workspace.Refs)
	}
	list, ok := receive(ctx, lists)
	if !ok {
		list.err = errLate
	}
	c.settings, c.gitErr = list.settings, list.err
	c.findGateway()
	if c.gits, ok = receive(ctx, gits); !ok {
		c.gitErr = errLate
	}
	return c
}

// A listing is a git's configuration, or why it cannot be read.
type listing struct {
	settings []gitconfig.Setting
	err      error
}

var errLate = errors.New("git did not answer in time")

// git returns the git that users get; ok is false if there is none.
func (c *setup) git() (install.Git, bool) {
	if len(c.gits) == 0 {
		return install.Git{}, false
	}
	return c.gits[0], true
}

// testRepository returns a repository to test with: the origin of the working directory, or
// one that the workspace file names. The path is "" if there is none.
func (c *setup) testRepository() gitsafety.Target {
	for _, s := range c.settings {
		section, _, name := s.Parts()
		if section == "remote" && name == "url" {
			to, ok := c.fromGateway(s.Value)
			if !ok {
				to = gitsafety.Split(s.Value)
			}
			if t, ok := c.servedTarget(to); ok {
				return t
			}
		}
	}
	if c.workspace != nil {
		for _, pattern := range c.workspace.Repositories.Patterns() {
			if t, ok := c.servedTarget(gitsafety.Target{Host: c.hosts[0], Path: pattern}); ok {
				return t
			}
		}
	}
	return gitsafety.Target{Host: c.hosts[0]}
}

// servedTarget reports whether t is one repository that this workspace may access.
func (c *setup) servedTarget(t gitsafety.Target) (gitsafety.Target, bool) {
	host, ok := gitname.Host(t.Host)
	owner, name, named := gitname.Path(t.Path)
	if !ok || !named || c.workspace != nil && !c.workspace.Repositories.Match(owner, name) {
		return t, false
	}
	for _, h := range c.hosts {
		if h == host {
			return gitsafety.Target{Host: host, Path: t.Path}, true
		}
	}
	return t, false
}

// FromError returns the finding for an error "what: why; what to do". If the error does
// not say what to do, otherwise does.
func FromError(level Level, err error, otherwise string) Finding {
	why, mend, ok := strings.Cut(err.Error(), "; ")
	if !ok {
		mend = otherwise
	}
	return Finding{Level: level, Text: why, Fix: mend}
}
