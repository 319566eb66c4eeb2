// Command gatepass is the program for people: it installs gatepass into git, and
// manages the App, the workspaces and the broker.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/internal/suggest"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
	"github.com/urfave/cli/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const (
	summary = "scoped, short-lived GitHub tokens for git, and a fence around what may be pushed"

	about = `Every workspace gets a GitHub token for its own repositories, for an hour. What it
pushes is checked by a hook in the workspace, or by the broker's git gateway.

Start with "gatepass install --dry-run": it shows the changes of your git
configuration, and writes nothing.`
)

// commands lists the commands in the order of the help. A command is in the file with its
// name or its group's. Exceptions: "policy lint" and "policy test" are in check.go,
// "completion" is in help.go, and "version" is here.
func commands(a *command.Environment) []*cli.Command {
	return []*cli.Command{
		demoCommand(a),
		installCommands{a}.installCommand(),
		installCommands{a}.uninstallCommand(),
		doctorCommand{a}.command(),
		checkCommand(a.Stdout),
		policyCommands{a}.command(),
		tokenCommands{a}.command(),
		tokenCommands{a}.execCommand(),
		appCommands{a}.command(),
		workspaceCommands{a}.command(),
		storeCommands{a}.command(),
		auditCommands{a}.command(),
		probeCommand{a}.command(),
		migrateCommands{a}.command(),
		agentCommands{a}.command(),
		completionCommand(a.Stdout),
		completeCommand(a.Stdout),
		manCommand(),
		versionCommand(a),
	}
}

// run is the program without its process. It returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &command.Environment{Getenv: getenv, Stdin: stdin, Stdout: stdout, Stderr: stderr}
	line := cliApp(a)
	if len(args) == 1 && args[0] == "--version" {
		_, _ = io.WriteString(stdout, "gatepass "+buildVersion().Version+"\n")
		return exitDone
	}
	err := line.RunContext(ctx, append([]string{"gatepass"}, optionsFirst(line.Commands, args)...))
	if err == nil {
		return exitDone
	}
	if err.Error() != "" {
		_, _ = io.WriteString(stderr, usererr.Line(err))
	}
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status
	}
	_, mistyped := errors.AsType[*command.UsageError](err)
	_, library := errors.AsType[cli.ExitCoder](err) // we return none, so this is the library's: "help" for an unknown topic
	if mistyped || library {
		return exitUsage
	}
	return exitFailed
}

func cliApp(a *command.Environment) *cli.App {
	line := &cli.App{
		Name:         "gatepass",
		Usage:        summary,
		UsageText:    "gatepass COMMAND [options]\ngatepass COMMAND --help",
		Description:  about,
		HideVersion:  true,
		Commands:     commands(a),
		Reader:       a.Stdin,
		Writer:       a.Stdout,
		ErrWriter:    a.Stderr,
		OnUsageError: onUsageError,
		// Otherwise the library would end the process.
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         group,
	}
	prepare(line.Commands)
	return line
}

// prepare sets on all commands what the library does not inherit.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		if len(c.Subcommands) > 0 && c.Action == nil {
			c.Action = group
		}
		prepare(c.Subcommands)
	}
}

// group is the action of a command that needs a subcommand, when none or an unknown one
// follows.
func group(c *cli.Context) error {
	siblings, typed := c.Command.Subcommands, c.Args().First()
	if typed == "" && len(c.Lineage()) <= 2 {
		return cli.ShowAppHelp(c)
	}
	if typed == "" {
		return command.Usage(c, "a command is missing: it must be one of "+nameList(siblings))
	}
	what := fmt.Sprintf("unknown command %q", typed)
	if meant := suggest.Closest(typed, names(siblings)); meant != "" {
		what += fmt.Sprintf(": did you mean %q?", meant)
	}
	return command.Usage(c, what)
}

func nameList(commands []*cli.Command) string { return strings.Join(names(commands), ", ") }

func names(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	return names
}

// onUsageError turns the flag parser's error into one line.
func onUsageError(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if option, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		text = "unknown option " + dashes(option)
	}
	return command.Usage(c, text)
}

func dashes(option string) string {
	if len(option) > 1 {
		return "--" + option
	}
	return "-" + option
}

// optionsFirst moves the options of a command before its arguments, as the library
// requires: people write "policy check main --verb force". What follows "--" stays, and
// so does everything after "exec", whose arguments belong to another program.
func optionsFirst(commands []*cli.Command, args []string) []string {
	command, rest := resolve(commands, args)
	if command == nil || len(command.Subcommands) > 0 || command.Name == execName {
		return args
	}
	ordered := slices.Clone(args[:len(args)-len(rest)])
	var operands []string
	for len(rest) > 0 {
		n := optionLen(command, rest)
		switch {
		case rest[0] == "--":
			return slices.Concat(ordered, []string{"--"}, operands, rest[1:])
		case n == 0:
			operands, rest = append(operands, rest[0]), rest[1:]
		default:
			ordered, rest = append(ordered, rest[:n]...), rest[n:]
		}
	}
	return append(ordered, operands...)
}

// resolve returns the command that args start with, and the words after its name.
func resolve(commands []*cli.Command, args []string) (command *cli.Command, rest []string) {
	for len(args) > 0 {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[0]) })
		if i < 0 {
			break
		}
		command, commands, args = commands[i], commands[i].Subcommands, args[1:]
	}
	return command, args
}

// optionLen is how many of args the option at their start takes: 0 if there is no
// option, 2 if its value follows.
func optionLen(command *cli.Command, args []string) int {
	name := strings.TrimLeft(args[0], "-")
	if name == "" || name == args[0] {
		return 0
	}
	for _, f := range command.Flags {
		documented, ok := f.(cli.DocGenerationFlag)
		if ok && documented.TakesValue() && slices.Contains(f.Names(), name) {
			return min(2, len(args))
		}
	}
	return 1
}

type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, with "+" if it had changes
	Go       string `json:"go"`
	Platform string `json:"platform"`

	AgentProgram *agentProgram  `json:"agent_program,omitempty"` // the agent program that would be started
	Agents       []runningAgent `json:"agents"`                  // what runs
}

type agentProgram struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

type runningAgent struct {
	PID     int    `json:"pid"`
	Config  string `json:"config"`
	Version string `json:"version"`
}

func versionCommand(a *command.Environment) *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "print the versions of gatepass and of its agents",
		UsageText: "gatepass version [--json]",
		Flags:     []cli.Flag{command.JSONFlag()},
		Action: func(c *cli.Context) error {
			if err := command.NoArguments(c); err != nil {
				return err
			}
			v := versions(a.Getenv, c.Context)
			if c.Bool("json") {
				return command.WriteJSON(a.Stdout, v)
			}
			return printVersions(a.Stdout, v)
		},
	}
}

// versions leaves out an agent that does not answer: other commands say why.
func versions(getenv func(string) string, ctx context.Context) versionInfo {
	v := buildVersion()
	if path, version, err := doctor.AgentProgram(ctx, getenv); err == nil {
		v.AgentProgram = &agentProgram{path, version}
	}
	v.Agents = []runningAgent{}
	running, _ := runningAgents(getenv)
	for _, a := range running.Agents {
		v.Agents = append(v.Agents, runningAgent{a.PID, a.Config, a.Version})
	}
	return v
}

func printVersions(out io.Writer, v versionInfo) error {
	var b strings.Builder
	fmt.Fprintf(&b, "gatepass %s (%s, %s)\n", v.Version, v.Go, v.Platform)
	if p := v.AgentProgram; p != nil {
		fmt.Fprintf(&b, "gatepass-agent %s, %s\n", usererr.Escape(p.Version), usererr.Escape(p.Path))
	}
	for _, a := range v.Agents {
		fmt.Fprintf(&b, "running: agent %d %s for %s\n", a.PID, usererr.Escape(a.Version), usererr.Escape(a.Config))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func buildVersion() versionInfo {
	v := versionInfo{Version: version.String(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "(devel)" && info.Main.Version != "" {
		v.Version = info.Main.Version // "go install …@v1.2.3" sets no link flags
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Revision = s.Value + v.Revision
		case s.Key == "vcs.modified" && s.Value == "true":
			v.Revision += "+"
		}
	}
	return v
}
