package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
	"github.com/urfave/cli/v2"
)

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

func versionCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "print the versions of gatepass and of its agent, as installed and as running",
		UsageText: "gatepass version [--json]",
		Flags:     []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			v := versions(a.getenv, c.Context)
			if c.Bool("json") {
				return writeJSON(a.stdout, v)
			}
			return printVersions(a.stdout, v)
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

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON instead of text", DisableDefaultText: true}
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
