package install

import (
	"context"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
)

// A Detour is a form of URL of a host's repositories for which git bypasses the
// gateway.
type Detour struct {
	URL  string // its start
	Push bool   // only for pushes
	// By is the setting that rewrites it elsewhere; nil if no setting rewrites it.
	By *gitconfig.Setting
}

// Detours returns the URLs of hosts' repositories, in every form of [URLForms], for
// which git does not use the gateway. Of several that one setting causes, it returns
// the first. list is git's configuration.
func Detours(list []gitconfig.Setting, g config.Gateway, hosts []string) (found []Detour) {
	for _, host := range hosts {
		for _, form := range URLForms(host) {
			for _, url := range append([]string{form}, longer(list, form)...) {
				for _, push := range []bool{false, true} {
					to, by := gitsafety.Rewritten(list, url, push)
					known := slices.ContainsFunc(found, func(d Detour) bool { return by != nil && d.By == by || by == nil && d.URL == url })
					if !strings.HasPrefix(to, g.Base(host, hosts)+"/") && !known {
						found = append(found, Detour{url, push, by})
					}
				}
			}
		}
	}
	return found
}

// longer returns the URLs that settings rewrite and that start with form.
func longer(list []gitconfig.Setting, form string) (urls []string) {
	for _, s := range list {
		section, _, name := s.Parts()
		if section == "url" && (name == "insteadof" || name == "pushinsteadof") && s.Value != form && strings.HasPrefix(s.Value, form) {
			urls = append(urls, s.Value)
		}
	}
	return urls
}

// noteDetours adds notes about other settings that still make git bypass the gateway.
func (pl *planner) noteDetours(ctx context.Context) {
	if pl.gateway.IsZero() {
		return
	}
	list, err := pl.settingsHere(ctx)
	if err != nil {
		return // a git that cannot list its configuration is reported elsewhere
	}
	list = pl.withOurs(list)
	for _, s := range StrayRemotes(list, pl.gateway.Gateway, pl.plan.Hosts) {
		text := "the remote " + s.Name + " of this repository goes past the gateway"
		if s.HasPassword {
			text += ", with a password in its URL"
		}
		pl.plan.Notes = append(pl.plan.Notes, text+"; "+s.Mend())
	}
	for _, d := range Detours(list, pl.gateway.Gateway, pl.plan.Hosts) {
		if d.By != nil {
			pl.plan.Notes = append(pl.plan.Notes, d.By.Key+"="+d.By.Value+" ("+d.By.Scope+" scope) leads git past the gateway; remove that setting")
		}
	}
}

// withOurs returns list with our rewrites added at the end of the scope's files.
func (pl *planner) withOurs(list []gitconfig.Setting) []gitconfig.Setting {
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

// A Stray is a remote that bypasses the gateway to one of its hosts.
type Stray struct {
	Name        string
	Setting     gitconfig.Setting // its url or pushurl
	HasPassword bool              // in that URL
	Clean       string            // a URL of the same repository that goes through the gateway
}

// StrayRemotes returns the remotes that bypass the gateway to one of hosts: those with
// a user or password in their URL, which no rewrite covers, and others in a form
// without a rewrite. list is git's configuration in a repository.
func StrayRemotes(list []gitconfig.Setting, g config.Gateway, hosts []string) (found []Stray) {
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
		found = append(found, Stray{remote, s, hasPassword(s.Value), "https://" + host + "/" + target.Path})
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

// Mend returns the command that changes the remote to the gateway. It shows no
// password.
func (s Stray) Mend() string {
	_, _, name := s.Setting.Parts()
	option := ""
	if name == "pushurl" {
		option = "--push "
	}
	return "git remote set-url " + option + quoted(s.Name) + " " + quoted(s.Clean)
}
