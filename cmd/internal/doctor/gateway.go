package doctor

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/install"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/gitsafety"
	"github.com/gatepass/gatepass/internal/redact"
)

// findGateway finds the gateway that git uses: the workspace file's, or the one that
// gatepass install configured in git.
func (c *setup) findGateway() {
	if c.workspace == nil {
		return
	}
	c.gateway = c.workspace.Gateway
	for _, s := range c.settings {
		if s.Key == install.GatewayKey && s.Trusted() {
			c.installedGateway = s.Value
		}
	}
	if g, err := config.ParseGateway(c.installedGateway); err == nil && c.gateway.IsZero() {
		c.gateway = g
	}
}

// contactedHosts returns the hosts that git talks to.
func (c *setup) contactedHosts() []string {
	if !c.gateway.IsZero() {
		return []string{c.gateway.Host()}
	}
	return c.hosts
}

// scheme returns the URL scheme by which git reaches a host.
func (c *setup) scheme(host string) string {
	if host == c.gateway.Host() {
		return c.gateway.Scheme()
	}
	return "https"
}

// A gatewayCheck checks whether git uses the gateway, and tries it.
type gatewayCheck struct{ *setup }

// check checks whether git uses the gateway for the hosts, in every form of
// URL, and with --online whether the gateway answers.
func (c gatewayCheck) check(ctx context.Context) []Finding {
	if c.gateway.IsZero() || c.gitErr != nil {
		return nil
	}
	if _, err := c.workspace.Through(c.gateway); err != nil {
		return []Finding{{Level: Failure, Text: c.path + ": " + err.Error(), Fix: "correct " + c.path + ", or run gatepass install"}}
	}
	if c.installedGateway != c.gateway.String() {
		text := "git is not configured for the gateway " + c.gateway.String()
		if c.installedGateway != "" {
			text += ", but of " + redact.Text(c.installedGateway, 200)
		}
		return []Finding{{Level: Failure, Text: text, Fix: "gatepass install"}}
	}
	found := append(c.bypassedURLs(), c.bypassingRemotes()...)
	if found == nil {
		found = []Finding{{Level: OK, Text: "git goes to " + c.gateway.String() + " for " + strings.Join(c.hosts, ", ")}}
	}
	if c.Online {
		found = append(found, c.try(ctx)...)
	}
	return found
}

// bypassedURLs finds the forms of URLs for which git does not use the gateway.
func (c gatewayCheck) bypassedURLs() (found []Finding) {
	var missing []string
	for _, d := range install.Bypasses(c.settings, c.gateway, c.hosts) {
		if d.By == nil {
			missing = append(missing, d.URL)
			continue
		}
		what := "git bypasses the gateway for " + redact.Text(d.URL, 200)
		if d.Push {
			what = "git pushes bypass the gateway for " + redact.Text(d.URL, 200)
		}
		found = append(found, Finding{
			Level: Failure, Text: what + ": " + d.By.Key + "=" + redact.Text(d.By.Value, 200) + " (" + where(*d.By) + ")", Fix: unsetValue(*d.By),
		})
	}
	if missing != nil {
		found = append(found, Finding{Level: Failure, Text: "git does not go to the gateway for " + strings.Join(missing, ", "), Fix: "gatepass install"})
	}
	return found
}

// bypassingRemotes finds remotes of the current repository that bypass the gateway.
func (c gatewayCheck) bypassingRemotes() (found []Finding) {
	for _, s := range install.BypassingRemotes(c.settings, c.gateway, c.hosts) {
		text := "the remote " + s.Name + " bypasses the gateway: " + s.Setting.Key + " (" + where(s.Setting) + ")"
		if s.HasPassword {
			text += " is a URL with a password in it"
		}
		found = append(found, Finding{Level: Failure, Text: text, Fix: s.Fix()})
	}
	return found
}

// try fetches and pushes as git would, without changing anything.
func (c gatewayCheck) try(ctx context.Context) []Finding {
	repositories := c.repositories()
	if len(repositories) == 0 {
		return []Finding{{Level: OK, Text: "no repository was checked, because the workspace file does not name a single one; run gatepass doctor --online in a clone"}}
	}
	dir, err := os.MkdirTemp("", "gatepass-doctor-")
	if err != nil {
		return []Finding{{Level: Warning, Text: "the gateway cannot be checked: " + err.Error(), Fix: "make the temporary directory writable, or set TMPDIR"}}
	}
	defer os.RemoveAll(dir)
	s := scratch{setup: c.setup, ctx: ctx, dir: dir}
	if err := s.prepare(); err != nil {
		return []Finding{{Level: Warning, Text: "the gateway cannot be checked: " + err.Error(), Fix: "make the temporary directory writable, or set TMPDIR"}}
	}
	var found []Finding
	for _, t := range repositories {
		url := c.gateway.Base(t.Host, c.hosts) + "/" + t.Path
		found = append(found,
			s.try("a fetch of "+url, "ls-remote", "-q", url, "HEAD"),
			s.try("a push to "+url+" that changes nothing", "push", "-q", "--dry-run", "--no-verify", url, "refs/heads/scratch:refs/heads/gatepass-doctor"))
	}
	return found
}

// maxTried is the largest number of repositories that are tried.
const maxTried = 8

// repositories returns the current repository and those that the workspace file names.
func (c gatewayCheck) repositories() (list []gitsafety.Target) {
	seen := map[gitsafety.Target]bool{}
	add := func(t gitsafety.Target) {
		owner, name, ok := gitname.Path(t.Path)
		one := gitsafety.Target{Host: t.Host, Path: owner + "/" + name}
		if ok && !seen[one] && len(list) < maxTried {
			seen[one] = true
			list = append(list, one)
		}
	}
	add(c.testRepository())
	for _, pattern := range c.workspace.Repositories.Patterns() {
		if t, ok := c.servedTarget(gitsafety.Target{Host: c.hosts[0], Path: pattern}); ok {
			add(t)
		}
	}
	return list
}

func (s scratch) try(what string, args ...string) Finding {
	_, stderr, err := s.git(args...)
	switch {
	case s.ctx.Err() != nil:
		return Finding{Level: Warning, Text: what + " did not end in time", Fix: "gatepass doctor --online --timeout 20s"}
	case err != nil:
		return Finding{Level: Failure, Text: what + " fails: " + firstOf(stderr, err).Error(), Fix: "see the reason"}
	}
	return Finding{Level: OK, Text: what + " works"}
}

// checkSession asks for a session as git does, and shows its hash.
func (c agentCheck) checkSession(deadline time.Time) []Finding {
	what := "a session at " + c.gateway.String()
	operation, payload := c.sessionCall()
	return c.tryCall(what, operation, payload, deadline)
}

// sessionCall returns the call to the agent that git's request for a session makes.
func (c *setup) sessionCall() (operation, payload string) {
	payload = "protocol=" + c.gateway.Scheme() + "\nhost=" + c.gateway.Host() + "\n"
	if t := c.testRepository(); t.Path != "" {
		path := strings.TrimPrefix(c.gateway.Base(t.Host, c.hosts)+"/"+t.Path, c.gateway.String()+"/")
		payload += "path=" + path + "\n"
	}
	if c.workspace.Gateway.IsZero() || len(c.installedGateway) == 0 {
		return agent.Through(agent.Get, c.installedGateway), payload + "\n"
	}
	return agent.Get, payload + "\n"
}

// checkProxies sends requests to the gateway's echo endpoint.
func (c gatewayCheck) checkProxies(ctx context.Context) []Finding {
	f := Finding{Group: proxyGroup, Level: Failure, Text: "no request can be sent to the gateway: there is no session", Fix: "see the reason above"}
	if c.gateway.IsZero() {
		f.Text, f.Fix = "this workspace has no gateway", "write gateway: https://BROKER in "+c.path
		return []Finding{f}
	}
	operation, payload := c.sessionCall()
	reply, err := agent.Ask(agent.Call{Operation: operation, Config: c.path, Payload: []byte(payload)}, c.Getenv, time.Now().Add(sessionWait))
	if err != nil {
		return []Finding{f}
	}
	session, given := parseAnswer(string(reply.Stdout))
	if !given {
		return []Finding{f}
	}
	return Proxies{Gateway: c.gateway.String(), Host: c.gateway.Host(), Session: session, CAFile: c.gatewayCA()}.Look(ctx)
}

const sessionWait = 15 * time.Second

// gatewayCA returns the file of authorities with which git verifies the gateway, or
// that of the source if it is the same broker; "" for the system's.
func (c gatewayCheck) gatewayCA() (file string) {
	for _, s := range c.settings {
		section, base, name := s.Parts()
		isFor := base == "" && file == "" || strings.TrimSuffix(base, "/") == c.gateway.String()
		if section == "http" && strings.EqualFold(name, "sslCAInfo") && isFor {
			file = s.Value
		}
	}
	if source := c.workspace.Source; file == "" && source != nil && source.Host == c.gateway.Host() {
		file = source.Query().Get("ca_file")
	}
	return file
}

// isInstalled reports whether install wrote a setting, to make git use the gateway.
func (c connectionCheck) isInstalled(s gitconfig.Setting) bool {
	section, base, _ := s.Parts()
	return section == "url" && !c.gateway.IsZero() && strings.HasPrefix(base, c.gateway.String()+"/")
}

// fromGateway returns the repository that a URL of the gateway names.
func (c *setup) fromGateway(url string) (t gitsafety.Target, ok bool) {
	path, ok := strings.CutPrefix(url, c.gateway.String()+"/")
	if c.gateway.IsZero() || !ok {
		return t, false
	}
	t.Host, t.Path = c.gateway.Repository(path, c.hosts)
	_, _, named := gitname.Path(t.Path)
	return t, named
}
