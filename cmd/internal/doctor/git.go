package doctor

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/install"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// readSettings lists the configuration of a git in the working directory.
func (c *setup) readSettings(ctx context.Context, git string) listing {
	out, stderr, err := run(ctx, c.Dir, plainEnvironment(c.Environ), git, gitconfig.Arguments()...)
	if err != nil {
		return listing{err: usererr.Wrap("read git's configuration", firstOf(stderr, err), "")}
	}
	list, err := gitconfig.Parse(out)
	return listing{list, err}
}

// plainEnvironment removes variables that make "git config" read another file than
// other git commands do, and those that enable tracing.
func plainEnvironment(environ []string) []string {
	return without(environ, func(name string) bool { return name == "GIT_CONFIG" || strings.HasPrefix(name, "GIT_TRACE") })
}

func without(environ []string, drop func(name string) bool) []string {
	var kept []string
	for _, entry := range environ {
		if name, _, _ := strings.Cut(entry, "="); !drop(name) {
			kept = append(kept, entry)
		}
	}
	return kept
}

func run(ctx context.Context, dir string, environ []string, program string, args ...string) (stdout, stderr []byte, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environ, &out, &errs
	// Reading the output of an ended program can take long on a busy machine. After the
	// deadline, nothing waits for it.
	cmd.WaitDelay = 500 * time.Millisecond
	cmd.Cancel = func() error { cmd.WaitDelay = grace / 2; return cmd.Process.Kill() }
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = errLate
	case errors.Is(err, exec.ErrWaitDelay): // it succeeded, and a child still holds its output
		err = nil
	}
	return out.Bytes(), errs.Bytes(), err
}

// firstOf returns the first line of a program's error output, or err if there is none.
func firstOf(stderr []byte, err error) error {
	line, _, _ := strings.Cut(strings.TrimSpace(string(stderr)), "\n")
	if line == "" {
		return err
	}
	return errors.New(redact.Text(line, 200))
}

// where describes the file of a setting: "local, .git/config".
func where(s gitconfig.Setting) string {
	if file := s.File(); file != "" {
		return s.Scope + ", " + file
	}
	return s.Scope
}

// unset returns the command that removes a setting from its file.
func unset(s gitconfig.Setting) string {
	file := s.File()
	if file == "" {
		return "remove " + s.Key + " from the command line and from GIT_CONFIG_* variables"
	}
	return "git config --file " + usererr.Quote(file) + " --unset-all " + usererr.Quote(s.Key)
}

// unsetValue is like unset, for one of several values.
func unsetValue(s gitconfig.Setting) string {
	if s.File() == "" {
		return unset(s)
	}
	return unset(s) + " " + usererr.Quote("^"+literal(s.Value)+"$")
}

// literal escapes a value for git's extended regular expressions.
func literal(value string) string {
	var b strings.Builder
	for _, r := range value {
		if strings.ContainsRune(`\.[]{}()*+?|^$`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// A gitCheck checks the git programs on PATH.
type gitCheck struct{ *setup }

// check lists every git on PATH. Each build has its own system configuration, so
// the setup of one says nothing about another.
func (c gitCheck) check(ctx context.Context) []Finding {
	if len(c.gits) == 0 && c.gitErr == errLate {
		return []Finding{{Level: Failure, Text: c.gitErr.Error(), Fix: "check whether a git on PATH hangs, or run gatepass doctor --timeout 20s"}}
	}
	if len(c.gits) == 0 {
		return []Finding{{Level: Failure, Text: "git is not on PATH", Fix: "install git"}}
	}
	found := make([]Finding, len(c.gits))
	var wg sync.WaitGroup
	for i, g := range c.gits {
		wg.Go(func() { found[i] = c.checkGit(ctx, g, i == 0) })
	}
	wg.Wait()
	if c.ignoresSystem() {
		found = append(found, Finding{
			Level: Warning, Text: "GIT_CONFIG_NOSYSTEM is set: git ignores its system configuration, including the lines of gatepass install --system",
			Fix: "unset GIT_CONFIG_NOSYSTEM",
		})
	}
	return found
}

// ignoresSystem parses GIT_CONFIG_NOSYSTEM as git does, as a boolean.
func (c gitCheck) ignoresSystem() bool {
	switch strings.ToLower(c.Getenv("GIT_CONFIG_NOSYSTEM")) {
	case "", "0", "false", "no", "off":
		return false
	}
	return true
}

func (c gitCheck) checkGit(ctx context.Context, g install.Git, first bool) Finding {
	name := "git " + g.Version() + " at " + g.Path
	if !g.AtLeast(2, 26) {
		return Finding{Level: Warning, Text: name + " cannot say where its settings come from (that needs 2.26 or later)", Fix: "update git"}
	}
	if first && c.gitErr != nil {
		return Finding{Level: Failure, Text: name + ": " + c.gitErr.Error(), Fix: "correct the file that git complains about"}
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
		return Finding{Level: Warning, Text: name + ": " + list.err.Error(), Fix: "correct the file that git complains about"}
	}
	for _, host := range c.hosts {
		if !slices.ContainsFunc(chainFor(list.settings, "https", host).links, func(l link) bool { return l.ours }) {
			return Finding{Level: Warning, Text: text + ", but does not ask gatepass for " + host, Fix: "sudo gatepass install --system"}
		}
	}
	return Finding{Level: OK, Text: text}
}

// A connectionCheck checks what is between git and its hosts, and the clock.
type connectionCheck struct{ *setup }

func (c connectionCheck) checkTransport(context.Context) []Finding {
	if c.gitErr != nil {
		return nil
	}
	var found []Finding
	seen := map[gitconfig.Setting]bool{}
	for _, host := range c.contactedHosts() {
		for _, h := range append(gitsafety.Environment(c.Environ), gitsafety.Target{Host: host}.Hazards(c.settings)...) {
			if !seen[h.Setting] && !c.isInstalled(h.Setting) {
				seen[h.Setting] = true
				found = append(found, c.hazardFinding(h))
			}
		}
		if c.gateway.IsZero() { // with a gateway, gatewayCheck checks them
			found = append(found, c.bypasses(host)...)
		}
	}
	if found == nil {
		text := "nothing is between git and " + strings.Join(c.contactedHosts(), ", ")
		if proxy := c.environmentProxy(); proxy != "" {
			text = "git reaches " + strings.Join(c.contactedHosts(), ", ") + " through the proxy of the environment, " + proxy
		}
		found = []Finding{{Level: OK, Text: text}}
	}
	return found
}

// hazardFinding decides how bad a hazard is. A setting of the machine or the user is taken as
// intended. Only disabled verification is always a failure: any server could receive
// the token.
func (c connectionCheck) hazardFinding(h gitsafety.Hazard) Finding {
	f := Finding{Level: Warning, Text: h.String() + " " + string(h.Kind), Fix: fixHazard(h)}
	strict := c.workspace != nil && c.workspace.Strict
	switch {
	case h.Kind == gitsafety.TLSOff:
		f.Level, f.Text = Failure, f.Text+": a token goes to any server that answers"
	case h.Trusted() && h.Kind != gitsafety.Rewrite:
		return Finding{Level: OK, Text: f.Text}
	case !h.Trusted() && strict:
		f.Level, f.Text = Failure, f.Text+": this workspace is strict, so it gives no token"
	}
	return f
}

func fixHazard(h gitsafety.Hazard) string {
	switch {
	case h.Setting.Scope == gitsafety.EnvironmentScope:
		return "unset " + h.Setting.Key
	case h.Kind == gitsafety.Rewrite:
		return unsetValue(h.Setting)
	}
	return unset(h.Setting)
}

// bypasses finds rewrites of the host's https URLs to another scheme, such as ssh: git
// then never asks for a token.
func (c connectionCheck) bypasses(host string) []Finding {
	var found []Finding
	for _, s := range c.settings {
		section, base, name := s.Parts()
		if section != "url" || name != "insteadof" && name != "pushinsteadof" || strings.HasPrefix(base, "https://") {
			continue
		}
		if strings.HasPrefix(s.Value, "https://") && gitsafety.Split(s.Value).Host == host {
			found = append(found, Finding{
				Level: Failure, Text: s.Key + "=" + redact.Text(s.Value, 200) + " (" + where(s) + ") makes git bypass gatepass for " + host,
				Fix: unsetValue(s),
			})
		}
	}
	return found
}

func (c connectionCheck) environmentProxy() string {
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		if v := c.Getenv(name); v != "" {
			return redact.Text(v[strings.LastIndexByte(v, '@')+1:], 200) + " (" + name + ")"
		}
	}
	return ""
}

// checkTracing finds variables that make git write tokens to a trace.
func (c connectionCheck) checkTracing(context.Context) []Finding {
	var on []string
	for _, name := range []string{"GIT_TRACE_CURL", "GIT_CURL_VERBOSE", "GIT_TRACE_PACKET"} {
		if v := c.Getenv(name); v != "" && !isFalse(v) {
			on = append(on, name)
		}
	}
	bare := c.Getenv("GIT_TRACE_REDACT") != "" && isFalse(c.Getenv("GIT_TRACE_REDACT"))
	traced := strings.Join(on, " and ")
	switch {
	case bare && traced != "":
		return []Finding{{Level: Failure, Text: "git writes tokens into its trace: " + traced + " with GIT_TRACE_REDACT=0", Fix: "unset GIT_TRACE_REDACT"}}
	case bare:
		return []Finding{{Level: Warning, Text: "GIT_TRACE_REDACT=0: with GIT_TRACE_CURL git would write tokens into its trace", Fix: "unset GIT_TRACE_REDACT"}}
	case traced != "":
		return []Finding{{Level: Warning, Text: "git traces its requests (" + traced + "); it hides only the header with the token", Fix: "unset " + strings.Join(on, " ")}}
	}
	return nil
}

// isFalse reports whether git reads an environment variable's value as false.
func isFalse(v string) bool {
	switch strings.ToLower(v) {
	case "0", "false", "no", "off":
		return true
	}
	return false
}
