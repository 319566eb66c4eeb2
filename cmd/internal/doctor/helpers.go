package doctor

import (
	"context"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/install"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
)

// A link is one helper that git asks.
type link struct {
	gitconfig.Setting
	ours bool
	path string // if it is ours; "" if git finds it on PATH
}

// A chain lists the helpers that git asks for one host, in the order of the files. An
// empty value drops all before it (gitcredentials(7)).
type chain struct {
	links []link
	reset *gitconfig.Setting // the empty value that dropped gatepass
}

func chainFor(list []gitconfig.Setting, scheme, host string) chain {
	var c chain
	for _, s := range list {
		section, subsection, name := s.Parts()
		if section != "credential" || name != "helper" || subsection != "" && !gitconfig.MatchesURL(subsection, scheme, host, "") {
			continue
		}
		if s.Value == "" {
			if c.ours() >= 0 {
				c.reset = &s
			}
			c.links = nil
			continue
		}
		path, ours := install.HelperPath(s.Value)
		c.links = append(c.links, link{s, ours, path})
	}
	return c
}

func (c chain) ours() int { return slices.IndexFunc(c.links, func(l link) bool { return l.ours }) }

// A helperCheck checks which programs git asks for a token.
type helperCheck struct{ *setup }

func (c helperCheck) check(context.Context) []Finding {
	if c.gitErr != nil {
		return nil // reported already
	}
	var found []Finding
	hosts := c.hosts
	if !c.gateway.IsZero() {
		hosts = append([]string{c.gateway.Host()}, hosts...)
	}
	for _, host := range hosts {
		found = append(found, c.checkHeader(host)...)
		found = append(found, c.checkHost(host)...)
		found = append(found, c.checkPaths(host)...)
	}
	return found
}

// checkHeader finds an Authorization header in git's configuration, as
// actions/checkout sets it: the server then uses that header and not our token.
func (c helperCheck) checkHeader(host string) []Finding {
	t := gitsafety.Target{Host: host}
	if here := c.testRepository(); here.Host == host {
		t = here
	}
	s := t.OwnHeader(c.settings)
	if s == nil {
		return nil
	}
	return []Finding{{
		Level: Failure, Text: "git sends another Authorization header to " + host + " instead of gatepass's token: " + s.Key + " (" + where(*s) + ")",
		Fix: unset(*s) + "; with actions/checkout: persist-credentials: false",
	}}
}

func (c helperCheck) checkHost(host string) []Finding {
	chain := chainFor(c.settings, c.scheme(host), host)
	at := chain.ours()
	if at < 0 {
		return []Finding{missingHelper(chain, host)}
	}
	ours := chain.links[at]
	if broken := brokenHelper(ours); broken != "" {
		return []Finding{{Level: Failure, Text: "git asks gatepass for " + host + " (" + where(ours.Setting) + "), but " + broken, Fix: "gatepass install"}}
	}
	var found []Finding
	for _, l := range chain.links[:at] {
		found = append(found, Finding{
			Level: Failure, Text: helperName(l.Value) + " (" + where(l.Setting) + ") is asked before gatepass for " + host + " and may answer with another credential",
			Fix: "gatepass install, or " + unsetValue(l.Setting),
		})
	}
	for _, l := range chain.links[at+1:] {
		if !l.ours {
			found = append(found, c.laterHelper(l, host)...)
		}
	}
	if found == nil {
		found = []Finding{{Level: OK, Text: "git asks gatepass for " + host + ", and no other helper (" + where(ours.Setting) + ")"}}
	}
	return found
}

func missingHelper(chain chain, host string) Finding {
	if chain.reset != nil {
		return Finding{
			Level: Failure, Text: "git does not ask gatepass for " + host + ": the empty " + chain.reset.Key + " (" + where(*chain.reset) + ") removes the helpers before it" + otherHelpers(chain),
			Fix: unset(*chain.reset),
		}
	}
	return Finding{Level: Failure, Text: "git does not ask gatepass for " + host + otherHelpers(chain), Fix: "gatepass install"}
}

func otherHelpers(chain chain) string {
	if len(chain.links) == 0 {
		return ""
	}
	var names []string
	for _, l := range chain.links {
		names = append(names, helperName(l.Value)+" ("+where(l.Setting)+")")
	}
	return "; it asks " + strings.Join(names, ", ")
}

func brokenHelper(l link) string {
	if l.path == "" {
		if _, err := exec.LookPath("git-credential-gatepass"); err != nil {
			return "git-credential-gatepass is not on PATH"
		}
		return ""
	}
	return whyNotRunnable(l.path)
}

// whyNotRunnable says why a program cannot be run; "" if it can.
func whyNotRunnable(path string) string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return path + " does not exist"
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return path + " cannot be run"
	}
	return ""
}

// laterHelper checks a helper to which git passes the credential that worked, after gatepass
// answered. Git 2.46 and later pass it in a form that none of the usual helpers stores,
// and mark it as not to be stored.
func (c helperCheck) laterHelper(l link, host string) []Finding {
	g, _ := c.git()
	if g.AtLeast(2, 46) {
		return []Finding{{Level: OK, Text: helperName(l.Value) + " (" + where(l.Setting) + ") comes after gatepass for " + host + "; git " + g.Version() + " keeps tokens from it"}}
	}
	level, keeps := Warning, "may keep it"
	switch name, _, _ := strings.Cut(l.Value, " "); {
	case name == "store":
		level, keeps = Failure, "writes it to a file in plain text"
	case name == "cache":
		keeps = "keeps it in memory after it expires"
	case helperName(l.Value) == ghHelper:
		return []Finding{{Level: OK, Text: ghHelper + " (" + where(l.Setting) + ") comes after gatepass for " + host + " and does not keep its token"}}
	}
	return []Finding{{
		Level: level, Text: helperName(l.Value) + " (" + where(l.Setting) + ") gets each token for " + host + " and " + keeps + " (git before 2.46)",
		Fix: unsetValue(l.Setting),
	}}
}

const ghHelper = "the GitHub CLI (gh)"

// helperName names the helper of a credential.helper value.
func helperName(value string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(value, "!"), " ")
	base := strings.TrimPrefix(filepath.Base(first), "git-credential-")
	switch {
	case strings.Contains(value, "vscode"):
		return "VS Code's credential helper"
	case base == "manager" || base == "manager-core" || base == "manager.exe":
		return "Git Credential Manager"
	case base == "osxkeychain":
		return "the macOS keychain (osxkeychain)"
	case base == "gh":
		return ghHelper
	case strings.HasPrefix(value, "!"):
		return "a shell command"
	}
	return "credential helper " + base
}

// checkPaths checks whether git sends the repository's path. Without it, neither repos
// nor a source per repository works.
func (c helperCheck) checkPaths(host string) []Finding {
	if !c.needsPaths() {
		return nil
	}
	sends := false
	for _, s := range c.settings {
		section, subsection, name := s.Parts()
		if section == "credential" && name == "usehttppath" && (subsection == "" || gitconfig.MatchesURL(subsection, c.scheme(host), host, "")) {
			sends = s.True()
		}
	}
	if sends {
		return nil
	}
	return []Finding{{
		Level: Failure, Text: "git does not name the repository of " + host + " that it asks for, but the workspace file lists repositories: every request is refused",
		Fix: "git config --global credential.https://" + host + ".useHttpPath true",
	}}
}

// needsPaths reports whether a token is for one repository: the workspace file
// distinguishes repositories, or the source is a broker, which is asked for each.
func (c *setup) needsPaths() bool {
	return c.workspace != nil && (!c.workspace.Repositories.Any() || c.sourcePerRepository() || c.sourceIsBroker())
}

func (c *setup) sourceIsBroker() bool {
	return c.workspace.Source != nil && strings.HasPrefix(c.workspace.Source.Scheme, "broker+")
}

// sourcePerRepository reports whether the source has a placeholder for a part of the
// repository.
func (c *setup) sourcePerRepository() bool {
	if c.workspace == nil || c.workspace.Source == nil {
		return false
	}
	source, err := url.PathUnescape(c.workspace.Source.String())
	return err == nil && (strings.Contains(source, "{owner}") || strings.Contains(source, "{repo}"))
}

// checkAskpass finds programs that answer git's prompts in place of gatepass. Git asks
// the helpers first, so it calls these programs only where gatepass does not answer;
// git-lfs and others call them first.
func (c helperCheck) checkAskpass(context.Context) []Finding {
	value, from := c.askpass()
	switch {
	case isOurAskpass(value) && filepath.IsAbs(value) && whyNotRunnable(value) != "":
		return []Finding{{Level: Failure, Text: from + ": " + whyNotRunnable(value), Fix: "install the programs, or unset GIT_ASKPASS"}}
	case isOurAskpass(value):
		return []Finding{{Level: OK, Text: "gatepass-askpass answers git's prompts (" + from + ")"}}
	case strings.Contains(value, "vscode") || strings.Contains(value, "/.cursor") || value != "" && c.Getenv("VSCODE_GIT_ASKPASS_NODE") != "":
		return []Finding{{
			Level: Warning, Text: "VS Code answers git's prompts (" + from + ") with its own account, if git does not ask gatepass",
			Fix: `set "git.terminalAuthentication": false in VS Code, or export GIT_ASKPASS=gatepass-askpass`,
		}}
	}
	return nil
}

func isOurAskpass(value string) bool { return filepath.Base(value) == "gatepass-askpass" }

// askpass returns the program that git would ask, in git's order of precedence.
func (c helperCheck) askpass() (value, from string) {
	if v := c.Getenv("GIT_ASKPASS"); v != "" {
		return v, "GIT_ASKPASS=" + v
	}
	for i := len(c.settings) - 1; i >= 0; i-- {
		if s := c.settings[i]; s.Key == "core.askpass" {
			return s.Value, "core.askPass=" + s.Value + ", " + where(s)
		}
	}
	if v := c.Getenv("SSH_ASKPASS"); v != "" {
		return v, "SSH_ASKPASS=" + v
	}
	return "", ""
}

// parseAnswer reads the agent's answer to git. given is false if it holds no token.
func parseAnswer(text string) (token credential.Token, given bool) {
	var secret string
	var expiry time.Time
	for line := range strings.SplitSeq(text, "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "password":
			secret = value
		case "password_expiry_utc":
			if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
				expiry = time.Unix(seconds, 0)
			}
		}
	}
	return credential.NewToken(secret, expiry), secret != ""
}

func permissions(levels map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		texts = append(texts, name+": "+levels[name])
	}
	return strings.Join(texts, ", ")
}
