package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gatepass/gatepass/cmd/internal/reference"
)

// otherPrograms are those beside gatepass, and what they are for.
var otherPrograms = []struct{ name, about string }{
	{"git-credential-gatepass", "git's credential helper: gives git the workspace's token"},
	{"gatepass-agent", "keeps the tokens of a workspace in memory, and fetches them from its source"},
	{"gatepass-askpass", "answers prompts of git and ssh where GIT_ASKPASS names it"},
	{"gatepass-pre-push", "git's pre-push hook: refuses pushes to refs that the workspace file does not allow"},
	{"gatepass-broker", "gives tokens to callers that prove who they are, and serves git as a gateway"},
	{"gatepass-refresher", "replaces and revokes the tokens that were delivered to workspaces"},
	{"gatepass-operator", "keeps tokens in the Secrets of a Kubernetes cluster"},
}

// programPages asks each program beside this one for its --help, and makes a page of it.
func programPages(ctx context.Context) (map[string]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pages := map[string]string{}
	for _, p := range otherPrograms {
		help, err := exec.CommandContext(ctx, filepath.Join(filepath.Dir(self), p.name), "--help").Output()
		if err != nil {
			return nil, fmt.Errorf("%s --help: %w", p.name, err)
		}
		pages[p.name+".1"] = programPage(p.name, p.about, string(help))
	}
	return pages, nil
}

// programPage sets what a program says of itself: its usage, then sentences and options.
func programPage(name, about, help string) string {
	var r roff
	r.head(name, "1", about)
	r.section("SYNOPSIS")
	synopsis, rest, _ := strings.Cut(strings.TrimPrefix(help, "usage: "), "\n\n")
	r.verbatim(strings.ReplaceAll(synopsis, "\n       ", "\n"))
	r.section("DESCRIPTION")
	r.prose(strings.TrimRight(rest, "\n"))
	r.section("SEE ALSO")
	r.WriteString("\\fBgatepass\\fR(1)\n")
	return r.String()
}

// filePages are those of the configuration files, in section 5.
func filePages() map[string]string {
	names := map[string]string{"workspace": "gatepass-workspace", "profile": "gatepass-profile", "broker": "gatepass-broker.yaml"}
	pages := map[string]string{}
	for _, f := range reference.Files() {
		name := names[f.Name]
		var r roff
		r.head(name, "5", strings.ToLower(f.Title[:1])+f.Title[1:]+" of gatepass")
		r.section("DESCRIPTION")
		r.prose(f.About)
		for _, g := range f.Groups() {
			title := "KEYS"
			if g.Path != "" {
				title = "KEYS OF " + escapeRoff(g.Path)
			}
			r.section(title)
			for _, k := range g.Keys {
				r.item(`\fB`+escapeRoff(k.Name)+`\fR`, k.Text())
			}
		}
		r.section("FILES")
		r.prose(f.Default)
		r.section("EXAMPLE")
		r.verbatim(strings.TrimSuffix(f.Example, "\n"))
		r.section("SEE ALSO")
		r.WriteString("\\fBgatepass\\fR(1), \\fBgatepass\\-check\\fR(1)\n")
		pages[name+".5"] = r.String()
	}
	return pages
}
