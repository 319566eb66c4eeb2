package install

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/gitsafety"
)

// maxProactive bounds how many repositories get sections of their own.
const maxProactive = 50

// proactive makes git (2.46 and later) show its credential with the first
// request instead of asking without one first and being refused: a round trip
// less for every operation. Older git ignores it.
func proactive(url string) setting {
	return setting{key: "http." + url + ".proactiveAuth", value: "basic"}
}

// ourProactive tells whether s is what proactive writes, for a host that has
// our helper in the same list, or had it.
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

// ahead returns the URLs below which the helper always has a token: the
// repositories and owners that the workspace file names. Elsewhere git must ask
// without a credential first, since for a URL that gets none it would prompt,
// even where the repository is public.
//
// Hosts that were named by hand stand for themselves: there may be no file.
func (pl *planner) ahead() ([]string, error) {
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

// noteOwnHeaders says where git, in the current directory, sends an
// Authorization header of its own, as actions/checkout sets it in a repository:
// the server then judges that header and not gatepass's token.
func (pl *planner) noteOwnHeaders(ctx context.Context) {
	list, err := pl.settingsHere(ctx)
	if err != nil {
		return // a git that cannot list its configuration is reported where that matters
	}
	for _, host := range pl.plan.Hosts {
		if s := (gitsafety.Target{Host: host}).OwnHeader(list); s != nil {
			pl.plan.Notes = append(pl.plan.Notes, "git sends an Authorization header of its own to "+host+" and not gatepass's token: "+
				s.Key+" ("+s.Scope+" scope); remove that setting (with actions/checkout: persist-credentials: false)")
		}
	}
}

// settingsHere lists the configuration that git has in the current directory.
func (pl *planner) settingsHere(ctx context.Context) ([]gitconfig.Setting, error) {
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
