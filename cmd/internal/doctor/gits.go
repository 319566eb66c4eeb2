package doctor

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/install"
)

// lookAtGits lists every git on PATH. Each build has its own system configuration, so
// the setup of one says nothing about another.
func (c *chart) lookAtGits(ctx context.Context) []Finding {
	if len(c.gits) == 0 && c.gitErr == errLate {
		return []Finding{{Level: Failure, Text: c.gitErr.Error(), Mend: "look for a git on PATH that hangs, or try gatepass doctor --timeout 20s"}}
	}
	if len(c.gits) == 0 {
		return []Finding{{Level: Failure, Text: "there is no git on PATH", Mend: "install git"}}
	}
	found := make([]Finding, len(c.gits))
	var wg sync.WaitGroup
	for i, g := range c.gits {
		wg.Go(func() { found[i] = c.lookAtGit(ctx, g, i == 0) })
	}
	wg.Wait()
	if c.ignoresSystem() {
		found = append(found, Finding{
			Level: Warning, Text: "GIT_CONFIG_NOSYSTEM is set: git leaves its system configuration out, and with it whatever gatepass install --system wrote",
			Mend: "unset GIT_CONFIG_NOSYSTEM",
		})
	}
	return found
}

// ignoresSystem parses GIT_CONFIG_NOSYSTEM as git does, as a boolean.
func (c *chart) ignoresSystem() bool {
	switch strings.ToLower(c.Getenv("GIT_CONFIG_NOSYSTEM")) {
	case "", "0", "false", "no", "off":
		return false
	}
	return true
}

func (c *chart) lookAtGit(ctx context.Context, g install.Git, first bool) Finding {
	name := "git " + g.Version() + " at " + g.Path
	if !g.AtLeast(2, 26) {
		return Finding{Level: Warning, Text: name + " cannot say where its settings come from (that is 2.26 and later)", Mend: "update git"}
	}
	if first && c.gitErr != nil {
		return Finding{Level: Failure, Text: name + ": " + c.gitErr.Error(), Mend: "correct the file that git complains about"}
	}
	text := name + " reads " + g.SystemFile
	if g.SystemFile == "" {
		text = name + " has no system configuration"
	}
	if first {
		return Finding{Level: OK, Text: text}
	}
	list := c.readSettings(ctx, g.Path)
	if list.err != nil {
		return Finding{Level: Warning, Text: name + ": " + list.err.Error(), Mend: "correct the file that git complains about"}
	}
	for _, host := range c.hosts {
		if !slices.ContainsFunc(chainFor(list.settings, "https", host).links, func(l link) bool { return l.ours }) {
			return Finding{Level: Warning, Text: text + " and does not ask gatepass for " + host, Mend: "sudo gatepass install --system"}
		}
	}
	return Finding{Level: OK, Text: text}
}
