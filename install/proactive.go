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

// ahead returns the URLs for which the helper always has a token: the repositories and
// owners that the workspace file names. For other URLs git must first ask without a
// credential: if a URL gets none, git would prompt, even if the repository is public.
//
// Hosts given as options count without a file, because there may be none.
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

// noteOwnHeaders adds a note if git, in the current directory, sends its own
// Authorization header, as actions/checkout sets it in a repository: the server then
// uses that header and not gatepass's token.
func (pl *planner) noteOwnHeaders(ctx context.Context) {
	list, err := pl.settingsHere(ctx)
	if err != nil {
		return // a git that cannot list its configuration is reported elsewhere
	}
	for _, host := range pl.plan.Hosts {
		if s := (gitsafety.Target{Host: host}).OwnHeader(list); s != nil {
			pl.plan.Notes = append(pl.plan.Notes, "git sends an Authorization header of its own to "+host+" and not gatepass's token: "+
				s.Key+" ("+s.Scope+" scope); remove that setting (with actions/checkout: persist-credentials: false)")
		}
	}
}

// settingsHere lists git's configuration in the current directory.
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
