package reference

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// programs lists all programs, in the order of their page.
var programs = []string{
	"gatepass", "git-credential-gatepass", "gatepass-askpass", "gatepass-pre-push", "gatepass-agent",
	"gatepass-broker", "gatepass-refresher", "gatepass-operator",
}

// programsPage returns the page of the command line, in Markdown: what each program in
// the folder, and each command of gatepass, prints for --help.
func programsPage(ctx context.Context, folder string) (string, error) {
	var b strings.Builder
	b.WriteString("# The command line\n\nWhat each program says to `--help`. `make install` writes the same as manual pages.\n")
	for _, program := range programs {
		if err := writeHelp(ctx, &b, folder, program); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// writeHelp writes the help of a command, and then of its subcommands.
func writeHelp(ctx context.Context, b *strings.Builder, folder, command string) error {
	words := append(strings.Fields(command), "--help")
	cmd := exec.CommandContext(ctx, filepath.Join(folder, words[0]), words[1:]...)
	cmd.Env = []string{"HOME=/nonexistent"}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s --help: %w", command, err)
	}
	help := string(out)
	fmt.Fprintf(b, "\n## %s\n\n", command)
	name, rest, isNamed := strings.Cut(help, "\n\nUSAGE:\n")
	if _, about, ok := strings.Cut(name, " - "); ok && isNamed {
		about = strings.Join(strings.Fields(about), " ")
		b.WriteString(strings.ToUpper(about[:1]) + about[1:] + ".\n\n")
		help = "USAGE:\n" + rest
	}
	b.WriteString("```text\n" + strings.TrimRight(help, "\n ") + "\n```\n")
	for _, sub := range subcommands(help) {
		if err := writeHelp(ctx, b, folder, command+" "+sub); err != nil {
			return err
		}
	}
	return nil
}

// listed matches a line of the list of commands.
var listed = regexp.MustCompile(`(?m)^ {3,5}([a-z][a-z-]*)(?:, [a-z-]+)*  `)

// subcommands returns those that a help lists.
func subcommands(help string) []string {
	_, list, ok := strings.Cut(help, "\nCOMMANDS:\n")
	if !ok {
		return nil
	}
	list, _, _ = strings.Cut(list, "\nOPTIONS:")
	list, _, _ = strings.Cut(list, "\nGLOBAL OPTIONS:")
	var names []string
	for _, m := range listed.FindAllStringSubmatch(list, -1) {
		if m[1] != "help" {
			names = append(names, m[1])
		}
	}
	return names
}
