package install

import (
	"context"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
	"github.com/gatepass/gatepass/internal/shell"
)

// A Bypass is a form of URL of a host's repositories for which git bypasses the
// gateway.
type Bypass struct {
	URL  string // its start
	Push bool   // only for pushes
	// By is the setting that rewrites it elsewhere; nil if no setting rewrites it.
	By *gitconfig.Setting
}

// Bypasses returns the URLs of hosts' repositories, in every form of [URLForms], for
// which git does not use the gateway. Of several that one setting causes, it returns
// the first. list is git's configuration.
func Bypasses(list []gitconfig.Setting, g config.Gateway, hosts []string) (found []Bypass) {
	for _, host := range hosts {
		for _, form := range URLForms(host) {
			for _, url := range append([]string{form}, longerRewrites(list, form)...) {
				for _, push := range []bool{false, true} {
					to, by := gitsafety.Rewritten(list, url, push)
					known := slices.ContainsFunc(found, func(d Bypass) bool { return by != nil && d.By == by || by == nil && d.URL == url })
					if !strings.HasPrefix(to, g.Base(host, hosts)+"/") && !known {
						found = append(found, Bypass{url, push, by})
					}
				}
			}
		}
	}
	return found
}

// longerRewrites returns the URLs that settings rewrite and that start with form.
func longerRewrites(list []gitconfig.Setting, form string) (urls []string) {
	for _, s := range list {
		section, _, name := s.Parts()
		if section == "url" && (name == "insteadof" || name == "pushinsteadof") && s.Value != form && strings.HasPrefix(s.Value, form) {
			urls = append(urls, s.Value)
		}
	}
	return urls
}

// noteBypasses adds notes about other settings that still make git bypass the gateway.
func (pl *planner) noteBypasses(ctx context.Context) {
	if pl.gateway.IsZero() {
		return
	}
	list, err := pl.currentSettings(ctx)
	if err != nil {
		return // a git that cannot list its configuration is reported elsewhere
	}
	list = pl.withRewrites(list)
	for _, s := range BypassingRemotes(list, pl.gateway.Gateway, pl.plan.Hosts) {
		text := "the remote " + s.Name + " of this repository bypasses the gateway"
		if s.HasPassword {
			text += ", with a password in its URL"
		}
		pl.plan.Notes = append(pl.plan.Notes, text+"; "+s.Fix())
	}
	for _, d := range Bypasses(list, pl.gateway.Gateway, pl.plan.Hosts) {
		if d.By != nil {
			pl.plan.Notes = append(pl.plan.Notes, d.By.Key+"="+d.By.Value+" ("+d.By.Scope+" scope) makes git bypass the gateway; remove that setting")
		}
	}
}

// withRewrites returns list with our rewrites added at the end of the scope's files.
func (pl *planner) withRewrites(list []gitconfig.Setting) []gitconfig.Setting {
	scope := gitconfig.Global
	if pl.Scope == System {
		scope = gitconfig.System
	}
	at := 0
	for i, s := range list {
		if s.Scope == gitconfig.System || s.Scope == scope {
			at = i + 1
		}
	}
	var ours []gitconfig.Setting
	for _, host := range pl.plan.Hosts {
		for _, s := range insteadOf(pl.gateway.Base(host, pl.plan.Hosts), host) {
			ours = append(ours, gitconfig.Setting{Scope: scope, Key: s.key, Value: s.value})
		}
	}
	return slices.Insert(slices.Clone(list), at, ours...)
}

// A BypassingRemote is a remote that bypasses the gateway to one of its hosts.
type BypassingRemote struct {
	Name        string
	Setting     gitconfig.Setting // its url or pushurl
	HasPassword bool              // in that URL
	FixedURL    string            // a URL of the same repository that goes through the gateway
}

// BypassingRemotes returns the remotes that bypass the gateway to one of hosts: those with
// a user or password in their URL, which no rewrite covers, and others in a form
// without a rewrite. list is git's configuration in a repository.
func BypassingRemotes(list []gitconfig.Setting, g config.Gateway, hosts []string) (found []BypassingRemote) {
	for _, s := range list {
		section, remote, name := s.Parts()
		if section != "remote" || name != "url" && name != "pushurl" {
			continue
		}
		to, _ := gitsafety.Rewritten(list, s.Value, false)
		target := gitsafety.Split(to)
		host, ok := hostOf(target, hosts)
		if !ok || strings.HasPrefix(to, g.String()+"/") {
			continue
		}
		found = append(found, BypassingRemote{remote, s, hasPassword(s.Value), "https://" + host + "/" + target.Path})
	}
	return found
}

// hostOf returns the host among hosts that a URL names, in any form.
func hostOf(t gitsafety.Target, hosts []string) (host string, ok bool) {
	for _, host := range hosts {
		for _, form := range URLForms(host) {
			if gitsafety.Split(form).Host == t.Host {
				return host, true
			}
		}
	}
	return "", false
}

func hasPassword(url string) bool {
	_, rest, _ := strings.Cut(url, "://")
	authority, _, _ := strings.Cut(rest, "/")
	return strings.Contains(authority[:max(strings.LastIndexByte(authority, '@'), 0)], ":")
}

// Fix returns the command that changes the remote to the gateway. It shows no
// password.
func (s BypassingRemote) Fix() string {
	_, _, name := s.Setting.Parts()
	option := ""
	if name == "pushurl" {
		option = "--push "
	}
	return "git remote set-url " + option + shell.QuoteIfNeeded(s.Name) + " " + shell.QuoteIfNeeded(s.FixedURL)
}
