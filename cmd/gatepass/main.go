// Command gatepass is the program for people: it installs gatepass into git, and
// manages the App, the workspaces and the broker.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/cmd/gatepass/app"
	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/cmd/gatepass/policy"
	"github.com/gatepass/gatepass/cmd/gatepass/workspace"
	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
	"github.com/urfave/cli/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

const (
	summary = "scoped, short-lived GitHub tokens for git, and a fence around what may be pushed"

	about = `Every workspace gets a GitHub token for its own repositories, for an hour. What it
pushes is checked by a hook in the workspace, or by the broker's git gateway.

Start with "gatepass install --dry-run": it shows the changes of your git
configuration, and writes nothing.`
)

// commands lists the commands in the order of the help. A command is in the file or in the
// package with its name or its group's. Exceptions: "check" is in policy, "migrate" is in
// workspace, "completion" is in help.go, and "version" is here.
func commands(a *command.Environment) []*cli.Command {
	return []*cli.Command{
		demoCommand(a),
		installCommands{a}.installCommand(),
		installCommands{a}.uninstallCommand(),
		doctorCommand{a}.command(),
		policy.CheckCommand(a.Stdout),
		policy.Command(a),
		tokenCommands{a}.command(),
		tokenCommands{a}.execCommand(),
		app.Command(a),
		workspace.Command(a),
		storeCommands{a}.command(),
		auditCommands{a}.command(),
		probeCommand{a}.command(),
		workspace.MigrateCommand(a),
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
		return command.ExitDone
	}
	return command.Execute(ctx, line, args)
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

func cliApp(a *command.Environment) *cli.App {
	line := command.NewApp(a, commands(a))
	line.Usage, line.Description = summary, about
	return line
}
