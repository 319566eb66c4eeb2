package install

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
	"github.com/gatepass/gatepass/internal/shell"
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
			return usererr.New("use --gateway "+named.String(), w.Path+" has gateway: "+fromFile.String(), "leave --gateway out, or correct the file")
		}
		pl.gateway.Gateway, pl.gateway.isOption = named, fromFile.IsZero()
	}
	if pl.gateway.IsZero() {
		if pl.GatewayCA != "" {
			return usererr.New("use --gateway-ca", "there is no gateway", "set it with --gateway URL, or with gateway: URL in the workspace file")
		}
		return nil
	}
	if w != nil {
		if err := w.CheckGatewaySource(); err != nil {
			return usererr.Wrap("use the gateway "+pl.gateway.String(), err, "")
		}
		pl.gateway.findCA(w)
	}
	if pl.gateway.ca != "" {
		return CheckPath(pl.gateway.ca)
	}
	return nil
}

// findCA uses the authorities of the source if the gateway is the same broker.
func (g *gateway) findCA(w *config.Workspace) {
	if g.ca == "" && w.Source != nil && w.Source.Scheme == "broker+https" && w.Source.Host == g.Host() {
		g.ca = w.Source.Query().Get("ca_file")
	}
}

// checkGateway refuses a gateway that is also one of the hosts whose repositories it
// serves.
func (pl *planner) checkGateway() error {
	if slices.Contains(pl.plan.Hosts, pl.gateway.Host()) {
		return usererr.New("use the gateway "+pl.gateway.String(), "it is also one of the hosts", "name with --host only the hosts whose repositories it serves")
	}
	return nil
}

// command returns the value of credential.helper. It passes the gateway to the helper
// if the workspace file does not name it.
func (g gateway) command(helper string) string {
	command := commandPath(helper)
	if g.isOption {
		command += " --gateway " + shell.QuoteIfNeeded(g.String())
	}
	return command
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

// authorKey is the variable with the NAME <EMAIL> of the commits' author, if New set
// it.
const authorKey = "gatepass.author"

// The git keys of the commits' author.
const (
	nameKey  = "user.name"
	emailKey = "user.email"
)

// author returns the section user for a target, with settings list and with content as
// its text without our block. The author is the workspace file's, or else the
// gateway's. A name or email that the user has set in git stays.
func (pl *planner) author(ctx context.Context, t target, content []byte, list []setting) (section, own []setting, err error) {
	if pl.authorName == "" && pl.gateway.IsZero() {
		return nil, nil, nil
	}
	base, err := pl.git.list(ctx, content)
	if err != nil {
		return nil, nil, err
	}
	ours := authorOwned(list).flat()
	hasName, hasEmail := pl.isSet(ctx, t, base, nameKey, ours), pl.isSet(ctx, t, base, emailKey, ours)
	if hasName && hasEmail {
		return nil, nil, nil
	}
	pl.findAuthor(ctx, list)
	if pl.authorName == "" {
		return nil, nil, nil
	}
	if !hasName {
		section = append(section, setting{key: nameKey, value: pl.authorName})
	}
	if !hasEmail {
		section = append(section, setting{key: emailKey, value: pl.authorEmail})
	}
	return section, []setting{{key: authorKey, value: pl.authorName + " <" + pl.authorEmail + ">"}}, nil
}

// findAuthor asks the gateway once if the workspace file names no author. If the
// gateway cannot be asked, the author of an earlier install, which is in list, stays.
func (pl *planner) findAuthor(ctx context.Context, list []setting) {
	if pl.authorName != "" || pl.askedAuthor {
		return
	}
	pl.askedAuthor = true
	text, why := "", "an image is for several workspaces"
	if pl.Scope != Image && pl.From == "" {
		text, why = pl.askAuthor(ctx)
	}
	if text == "" && why != "" {
		if earlier := valuesOf(list, authorKey); len(earlier) > 0 {
			text = earlier[len(earlier)-1]
		}
	}
	name, email, err := config.ParseAuthor(text)
	if err == nil {
		pl.authorName, pl.authorEmail = name, email
		return
	}
	if why == "" {
		why = "the gateway does not name one"
	}
	pl.plan.Notes = append(pl.plan.Notes, "git has no author for commits ("+why+"): write author: NAME <EMAIL> into the workspace file, or run gatepass install in the workspace")
}

// askAuthor returns the gateway's author, or why it could not be asked.
func (pl *planner) askAuthor(ctx context.Context) (author, why string) {
	w, err := pl.workspace()
	if err == nil && w != nil && pl.Options.Author != nil {
		w, err = w.Through(pl.gateway.Gateway)
	}
	if err != nil || w == nil || pl.Options.Author == nil {
		return "", "gatepass did not ask the gateway"
	}
	if author, err = pl.Options.Author(ctx, w); err != nil {
		return "", usererr.Escape(err.Error())
	}
	return author, ""
}

func authorOf(name, email string) []setting {
	return []setting{{key: nameKey, value: name}, {key: emailKey, value: email}}
}

// authorOwned returns the settings of an author that New set.
func authorOwned(list []setting) (b block) {
	for _, text := range valuesOf(list, authorKey) {
		if name, email, err := config.ParseAuthor(text); err == nil {
			b = appendSection(b, present(list, authorOf(name, email)))
		}
	}
	return b
}

// isSet reports whether a key has a value that is not ours, in the settings of a file
// or, for a user, in all files that git reads for the user.
func (pl *planner) isSet(ctx context.Context, t target, list []setting, key string, ours []setting) bool {
	values := valuesOf(list, key)
	if pl.Scope == Global && len(t.gits) > 0 {
		if out, err := t.gits[0].runAsUser(ctx, "config", "-z", "--includes", "--get-all", key); err == nil {
			values = append(values, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")...)
		}
	}
	return slices.ContainsFunc(values, func(value string) bool {
		return !slices.ContainsFunc(ours, setting{key: key, value: value}.same)
	})
}

// maxProactive is the largest number of repositories with their own sections.
const maxProactive = 50

// proactive makes git (2.46 and later) send its credential with the first request,
// instead of first being refused without one. That saves a round trip in every
// operation. Older git ignores it.
func proactive(url string) setting {
	return setting{key: "http." + url + ".proactiveAuth", value: "basic"}
}

// ourProactive reports whether proactive wrote s, for a host that has or had our helper
// in the same list.
func ourProactive(s setting, list []setting) bool {
	url, ok := strings.CutPrefix(s.section(), "http.https://")
	if !ok || !s.same(proactive("https://"+url)) {
		return false
	}
	host, path, _ := strings.Cut(url, "/")
	return path != "" && slices.ContainsFunc(list, func(t setting) bool {
		return ourHelper(t) && t.section() == "credential.https://"+host || t.is(hostKey) && t.value == host
	})
}

// proactiveURLs returns the URLs for which the helper always has a token: the repositories and
// owners that the workspace file names. For other URLs git must first ask without a
// credential: if a URL gets none, git would prompt, even if the repository is public.
//
// Hosts given as options count without a file, because there may be none.
func (pl *planner) proactiveURLs() ([]string, error) {
	if len(pl.Options.Hosts) > 0 || !pl.gateway.IsZero() {
		return nil, nil
	}
	w, err := pl.workspace()
	if err != nil || w == nil {
		return nil, err
	}
	var urls []string
	for _, host := range pl.plan.Hosts {
		if slices.Contains(w.Hosts, host) {
			urls = append(urls, fixedURLs(host, w)...)
		}
	}
	if len(urls) > maxProactive {
		pl.plan.Notes = append(pl.plan.Notes, "repos names many repositories: git will ask for each without a token first")
		return nil, nil
	}
	return urls, nil
}

// fixedURLs spells a repository with and without ".git": git compares whole
// path segments.
func fixedURLs(host string, w *config.Workspace) []string {
	var urls []string
	for _, path := range w.Repositories.Fixed() {
		url := "https://" + host + "/" + path
		urls = append(urls, url)
		if strings.Contains(path, "/") && !strings.HasSuffix(path, ".git") {
			urls = append(urls, url+".git")
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// noteOwnHeaders adds a note if git, in the current directory, sends its own
// Authorization header, as actions/checkout sets it in a repository: the server then
// uses that header and not gatepass's token.
func (pl *planner) noteOwnHeaders(ctx context.Context) {
	list, err := pl.currentSettings(ctx)
	if err != nil {
		return // a git that cannot list its configuration is reported elsewhere
	}
	for _, host := range pl.plan.Hosts {
		if s := (gitsafety.Target{Host: host}).OwnHeader(list); s != nil {
			pl.plan.Notes = append(pl.plan.Notes, "git sends another Authorization header to "+host+" instead of gatepass's token: "+
				s.Key+" ("+s.Scope+" scope); remove that setting (with actions/checkout: persist-credentials: false)")
		}
	}
}

// currentSettings lists git's configuration in the current directory.
func (pl *planner) currentSettings(ctx context.Context) ([]gitconfig.Setting, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	out, err := pl.git.runAsUser(ctx, append([]string{"-C", here}, gitconfig.Arguments()...)...)
	if err != nil {
		return nil, err
	}
	return gitconfig.Parse(out)
}
