package install

import (
	"context"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Names of a gateway's settings in the configuration, in addition to authorKey. The
// variables of the section gatepass record which other settings New wrote.
const (
	gatewayKey   = "gatepass.gateway"   // the gateway's address
	gatewayCAKey = "gatepass.gatewayCA" // the certificates of its authorities, if they were given
)

// GatewayKey is the variable in which New records the gateway. Programs that read it
// must trust only the system's and the user's configuration.
const GatewayKey = gatewayKey

// A gateway is the gateway that git is configured with.
type gateway struct {
	config.Gateway
	isOption bool   // it comes from an option, and the workspace file names none
	ca       string // a file of certificates, absolute; "" for the system's
}

// findGateway finds the gateway: that of the option, or else of the workspace file.
func (pl *planner) findGateway(w *config.Workspace) error {
	var fromFile config.Gateway
	if w != nil {
		fromFile = w.Gateway
	}
	pl.gateway = gateway{Gateway: fromFile, ca: pl.GatewayCA}
	if pl.Options.Gateway != "" {
		named, err := config.ParseGateway(pl.Options.Gateway)
		if err != nil {
			return usererr.Wrap("use --gateway", err, "")
		}
		if !fromFile.IsZero() && named != fromFile {
			return usererr.New("use --gateway "+named.String(), w.Path+" says gateway: "+fromFile.String(), "leave --gateway out, or correct the file")
		}
		pl.gateway.Gateway, pl.gateway.isOption = named, fromFile.IsZero()
	}
	if pl.gateway.IsZero() {
		if pl.GatewayCA != "" {
			return usererr.New("use --gateway-ca", "there is no gateway", "name it with --gateway URL, or with gateway: URL in the workspace file")
		}
		return nil
	}
	if w != nil {
		if err := w.CheckGatewaySource(); err != nil {
			return usererr.Wrap("use the gateway "+pl.gateway.String(), err, "")
		}
		pl.findCA(w)
	}
	if pl.gateway.ca != "" {
		return CheckPath(pl.gateway.ca)
	}
	return nil
}

// findCA uses the authorities of the source if the gateway is the same broker.
func (pl *planner) findCA(w *config.Workspace) {
	if pl.gateway.ca == "" && w.Source != nil && w.Source.Scheme == "broker+https" && w.Source.Host == pl.gateway.Host() {
		pl.gateway.ca = w.Source.Query().Get("ca_file")
	}
}

// checkGateway refuses a gateway that is also one of the hosts whose repositories it
// serves.
func (pl *planner) checkGateway() error {
	if slices.Contains(pl.plan.Hosts, pl.gateway.Host()) {
		return usererr.New("use the gateway "+pl.gateway.String(), "it is one of the hosts too", "name with --host those whose repositories it serves")
	}
	return nil
}

// command returns the value of credential.helper. It passes the gateway to the helper
// if the workspace file does not name it.
func (g gateway) command(helper string) string {
	command := commandPath(helper)
	if g.isOption {
		command += " --gateway " + quoted(g.String())
	}
	return command
}

// quoted returns word as a word of a shell, in quotes only if needed.
func quoted(word string) string {
	if strings.IndexFunc(word, special) < 0 {
		return word
	}
	return shellQuote(word)
}

// sections returns the sections of the gateway: its helper, the URLs that are rewritten
// to it, and how to connect to it.
func (g gateway) sections(hosts []string, helper string) (b block) {
	if g.IsZero() {
		return nil
	}
	b = block{credentials(g.String(), g.command(helper))}
	for _, host := range hosts {
		b = append(b, insteadOf(g.Base(host, hosts), host))
	}
	return append(b, httpOf(g.String(), g.ca), lfsOf(g.String()))
}

// own returns the gateway's variables in the section gatepass.
func (g gateway) own() (list []setting) {
	if !g.IsZero() {
		list = append(list, setting{key: gatewayKey, value: g.String()})
	}
	if !g.IsZero() && g.ca != "" {
		list = append(list, setting{key: gatewayCAKey, value: g.ca})
	}
	return list
}

// httpOf makes git send its session with the first request (2.46 and later), since the
// gateway answers no request without one, and sets the authorities.
func httpOf(url, ca string) []setting {
	list := []setting{proactive(url)}
	if ca != "" {
		list = append(list, setting{key: "http." + url + ".sslCAInfo", value: ca})
	}
	return list
}

// lfsOf makes git-lfs send its session with the first request and check locks without
// being told to. git-lfs does that by itself only at github.com.
func lfsOf(url string) []setting {
	return []setting{{key: "lfs." + url + ".access", value: "basic"}, {key: "lfs." + url + ".locksverify", value: "true"}}
}

// insteadOf rewrites the URLs of a host to the gateway. base has no slash at the end.
func insteadOf(base, host string) (list []setting) {
	for _, form := range URLForms(host) {
		list = append(list, setting{key: "url." + base + "/.insteadOf", value: form})
	}
	return list
}

// URLForms returns the starts of URLs by which people and tools name a host's
// repositories: https, http, git, scp and ssh. GitHub also has other names, for
// browsers and for networks that allow only port 443.
func URLForms(host string) []string {
	name, port, _ := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") {
		name, port = host, ""
	}
	forms := []string{"https://" + host + "/"}
	if port == "" {
		forms = append(forms, "http://"+host+"/")
	}
	if host == config.DefaultHost {
		forms = append(forms, "https://www."+host+"/")
	}
	forms = append(forms, "git://"+name+"/", "git@"+name+":", "ssh://git@"+name+"/")
	if host == config.DefaultHost {
		forms = append(forms, "ssh://git@ssh."+host+":443/")
	}
	return forms
}

// gatewayOwned returns the sections of gateways that New wrote, in the order and
// spelling of gateway.sections.
func gatewayOwned(list []setting) (urls, https block) {
	hosts := valuesOf(list, hostKey)
	for _, url := range valuesOf(list, gatewayKey) {
		g, err := config.ParseGateway(url)
		if err != nil {
			continue
		}
		for _, host := range hosts {
			urls = appendSection(urls, present(list, insteadOf(g.Base(host, hosts), host)))
		}
		wanted := httpOf(url, "")
		for _, ca := range valuesOf(list, gatewayCAKey) {
			wanted = append(wanted, httpOf(url, ca)[1])
		}
		https = appendSection(https, present(list, wanted))
		https = appendSection(https, present(list, lfsOf(url)))
	}
	return urls, https
}

// appendSection appends a section, unless it has no settings.
func appendSection(b block, section []setting) block {
	if len(section) == 0 {
		return b
	}
	return append(b, section)
}

// present returns those of wanted that list has.
func present(list, wanted []setting) (there []setting) {
	for _, s := range wanted {
		if count(list, s) > 0 {
			there = append(there, s)
		}
	}
	return there
}

// valuesOf returns the distinct values of a key.
func valuesOf(list []setting, key string) (values []string) {
	for _, s := range list {
		if s.is(key) && !slices.Contains(values, s.value) {
			values = append(values, s.value)
		}
	}
	return values
}

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
