package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/cmd/internal/reference"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// manCommand writes the manual pages, for "make install" and packages.
func manCommand() *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "write the manual pages into a directory, in man1 and man5",
		UsageText: "gatepass man DIR",
		Hidden:    true,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return command.Usage(c, "name one directory")
			}
			dir, pages := c.Args().First(), manPages(c.App)
			maps.Copy(pages, filePages())
			if err := writePages(dir, pages); err != nil {
				return usererr.Wrap("write the manual", err, "")
			}
			pages, err := programPages(c.Context)
			if err != nil {
				return usererr.Wrap("write the manual", err, "build all programs: make build")
			}
			return writePages(dir, pages)
		},
	}
}

// writePages writes each page into the folder of its section.
func writePages(dir string, pages map[string]string) error {
	for name, page := range pages {
		folder := filepath.Join(dir, "man"+name[len(name)-1:])
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(page), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manPages returns gatepass.1 and a page for each command, by file name, with the text
// of --help in roff. The pages have no date, so that the same program writes the same
// bytes.
//
// The library's ToMan is not used. It writes one page (21 kB; ours are 15 with 47 kB),
// leaves out the descriptions of commands (299 of 304 lines), and goes through
// Markdown, which reads the stars of ref patterns as emphasis. ToMan and go-md2man are
// linked into gatepass all the same (254 kB), because the library's help templates keep
// every method of cli.App; the build tag urfave_cli_no_docs removes them.
func manPages(app *cli.App) map[string]string {
	var main roff
	main.head("gatepass", "1", app.Usage)
	main.section("SYNOPSIS")
	main.verbatim(app.UsageText)
	main.section("DESCRIPTION")
	main.prose(app.Description)
	main.section("COMMANDS")
	pages := map[string]string{}
	for _, c := range app.Commands {
		if c.Hidden || c.Name == "help" {
			continue
		}
		main.item(`\fBgatepass\-`+escapeRoff(c.Name)+`\fR(1)`, c.Usage)
		pages["gatepass-"+c.Name+".1"] = commandPage(c)
	}
	main.section("PROGRAMS")
	for _, p := range otherPrograms {
		main.item(`\fB`+escapeRoff(p.name)+`\fR(1)`, p.about)
	}
	main.surroundings()
	pages["gatepass.1"] = main.String()
	return pages
}

func commandPage(c *cli.Command) string {
	var r roff
	r.head("gatepass-"+c.Name, "1", c.Usage)
	r.section("SYNOPSIS")
	r.verbatim(c.UsageText)
	if c.Description != "" {
		r.section("DESCRIPTION")
		r.prose(c.Description)
	}
	r.options("OPTIONS", c.Flags)
	r.subcommands(c.Name, c.Subcommands)
	r.section("SEE ALSO")
	r.WriteString("\\fBgatepass\\fR(1)\n")
	return r.String()
}

// A roff is a page being written.
type roff struct{ strings.Builder }

func (r *roff) head(name, section, usage string) {
	fmt.Fprintf(r, ".TH %s %s \"\" \"gatepass %s\" \"gatepass manual\"\n", strings.ToUpper(escapeRoff(name)), section, escapeRoff(buildVersion().Version))
	r.WriteString(".ad l\n")
	r.section("NAME")
	fmt.Fprintf(r, "%s \\- %s\n", escapeRoff(name), escapeRoff(usage))
}

func (r *roff) section(title string) { fmt.Fprintf(r, ".SH %s\n", title) }

func (r *roff) subcommands(parent string, commands []*cli.Command) {
	for _, c := range commands {
		if c.Hidden || c.Name == "help" {
			continue
		}
		r.section(strings.ToUpper(escapeRoff(parent + " " + c.Name)))
		r.prose(strings.ToUpper(c.Usage[:1]) + c.Usage[1:] + ".")
		r.WriteString(".PP\n")
		r.verbatim(c.UsageText)
		if c.Description != "" {
			r.WriteString(".PP\n")
			r.prose(c.Description)
		}
		r.options("", c.Flags)
		r.subcommands(parent+" "+c.Name, c.Subcommands)
	}
}

func (r *roff) options(title string, flags []cli.Flag) {
	if title != "" && len(flags) > 0 {
		r.section(title)
	}
	for _, f := range flags {
		documented, ok := f.(cli.DocGenerationFlag)
		if !ok || f.Names()[0] == "help" {
			continue
		}
		placeholder, about := placeholderIn(documented.GetUsage())
		var names []string
		for _, name := range f.Names() {
			names = append(names, `\fB`+escapeRoff(command.Dashes(name))+`\fR`)
		}
		label := strings.Join(names, ", ")
		if documented.TakesValue() {
			label += ` \fI` + escapeRoff(placeholder) + `\fR`
		}
		if d := strings.Trim(documented.GetDefaultText(), `"`); documented.TakesValue() && d != "" {
			about += " (default: " + d + ")"
		}
		r.item(label, about)
	}
}

// item writes a hanging paragraph. The label is roff already.
func (r *roff) item(label, about string) {
	fmt.Fprintf(r, ".TP\n%s\n%s\n", label, line(about))
}

// prose writes paragraphs, and keeps indented lines as they are.
func (r *roff) prose(s string) {
	indented, gap := false, ""
	for text := range strings.Lines(s) {
		text = strings.TrimRight(text, "\n")
		if text == "" {
			gap = ".PP\n"
			continue
		}
		switch in := strings.HasPrefix(text, "  "); {
		case in && !indented:
			gap = ".PP\n.RS 4\n.nf\n"
			indented = true
		case !in && indented:
			gap = ".fi\n.RE\n.PP\n"
			indented = false
		}
		r.WriteString(gap + line(strings.TrimPrefix(text, "  ")) + "\n")
		gap = ""
	}
	if indented {
		r.WriteString(".fi\n.RE\n")
	}
}

func (r *roff) verbatim(s string) {
	r.WriteString(".nf\n")
	for text := range strings.SplitSeq(s, "\n") {
		r.WriteString(line(text) + "\n")
	}
	r.WriteString(".fi\n")
}

// surroundings writes the sections about files, environment and exit status, which all
// commands share.
func (r *roff) surroundings() {
	r.section("FILES")
	r.item(`\fI`+escapeRoff(config.DefaultPath)+`\fR`, "the workspace file: the hosts and repositories that tokens are for, the source of the tokens, and what may be pushed")
	r.section("ENVIRONMENT")
	r.item(`\fB`+config.PathVariable+`\fR`, "another workspace file")
	r.item(`\fBGATEPASS_TIMEOUT\fR`, "how long to wait for a token, such as 5s or in whole seconds (default: 20s)")
	r.section("EXIT STATUS")
	r.item("0", "done")
	r.item("1", "failed; one line on standard error says what failed, why, and what to do")
	r.item("2", "the command line is not valid")
	r.WriteString(".PP\n" + line("gatepass exec exits with the status of its command.") + "\n")
}

// escapeRoff escapes s for use within a line.
func escapeRoff(s string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`).Replace(s)
}

// line escapes s as a line of text: a dot at the start would be a roff request.
func line(s string) string {
	s = escapeRoff(s)
	if strings.HasPrefix(s, ".") {
		return `\&` + s
	}
	return s
}

// otherPrograms are the other programs of gatepass, and what each is for.
var otherPrograms = []struct{ name, about string }{
	{"git-credential-gatepass", "git's credential helper: gives git the workspace's token"},
	{"gatepass-agent", "keeps the tokens of a workspace in memory, and fetches them from its source"},
	{"gatepass-askpass", "answers git's prompts if GIT_ASKPASS names it"},
	{"gatepass-pre-push", "git's pre-push hook: refuses pushes to refs that the workspace file does not allow"},
	{"gatepass-broker", "vends tokens to callers that prove who they are, and serves git as a gateway"},
	{"gatepass-refresher", "refreshes and revokes the tokens that were delivered to workspaces"},
	{"gatepass-operator", "keeps tokens in the Secrets of a Kubernetes cluster"},
}

// programPages calls each program in this program's folder with --help, and makes a
// page of the output.
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

// programPage formats a program's help: its usage, then sentences and options.
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

// filePages are the pages of the configuration files, in section 5.
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
