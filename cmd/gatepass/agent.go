package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
	"github.com/urfave/cli/v2"
)

const agentAbout = `gatepass-agent holds a workspace's tokens in memory. git's helper starts it
when it is needed, and it exits when it gets no requests for a while.

A user has one agent for each workspace file and environment. An agent serves
only programs with the same identity, proxies, CA files, and Vault and AWS
variables as the program that started it. Both commands apply to all agents.

Examples:
  gatepass agent status
  gatepass agent stop        the next git command starts a new one`

// agentWait is how long a running agent may take to answer.
const agentWait = 5 * time.Second

// agentCommands are the commands of "gatepass agent".
type agentCommands struct{ *command.Environment }

func (cmd agentCommands) command() *cli.Command {
	return &cli.Command{
		Name:        "agent",
		Usage:       "inspect or stop the agents that hold the tokens",
		UsageText:   "gatepass agent status [--json]\ngatepass agent stop",
		Description: agentAbout,
		Subcommands: []*cli.Command{
			{
				Name:      "status",
				Usage:     "list the running agents and their tokens' hashes",
				UsageText: "gatepass agent status [--json]",
				Flags:     []cli.Flag{command.JSONFlag()},
				Action:    cmd.status,
			},
			{
				Name:      "stop",
				Usage:     "stop the agents and forget their tokens",
				UsageText: "gatepass agent stop",
				Action:    cmd.stop,
			},
		},
	}
}

// agentReport is the JSON of "agent status".
type agentReport struct {
	Version string        `json:"version"`         // of this gatepass
	Running bool          `json:"running"`         // the agent of this environment runs
	Agent   *agent.State  `json:"agent,omitempty"` // the same
	Agents  []agent.State `json:"agents"`          // all agents of this user, the one of this environment first
}

func (cmd agentCommands) status(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	r, troubles := runningAgents(cmd.Getenv)
	if c.Bool("json") {
		return usererr.Join(command.WriteJSON(cmd.Stdout, r), troubles)
	}
	if !r.Running && troubles == nil {
		text := "no agent is running"
		if len(r.Agents) > 0 {
			text += " for this workspace file and environment"
		}
		if _, err := fmt.Fprintln(cmd.Stdout, text+"; git starts one when it needs a token"); err != nil {
			return err
		}
	}
	for _, a := range r.Agents {
		if err := printAgent(cmd.Stdout, cmd.Screen(), a); err != nil {
			return err
		}
	}
	return troubles
}

// runningAgents asks all agents of this user for their state. It leaves out agents that
// end meanwhile, and agents that speak another version of the protocol. The error is
// about agents that should have answered.
func runningAgents(getenv func(string) string) (agentReport, error) {
	r := agentReport{Version: version.String(), Agents: []agent.State{}}
	path, err := config.Path(getenv)
	if err != nil {
		return r, err
	}
	own, _ := agent.Locate(path, getenv) // without a place there is no agent
	var troubles []error
	for _, socket := range agent.Sockets(getenv) {
		state, found, err := agentState(socket)
		switch {
		case err != nil:
			troubles = append(troubles, err)
		case found && socket == own.Socket:
			r.Running, r.Agent = true, &state
			r.Agents = slices.Insert(r.Agents, 0, state)
		case found:
			r.Agents = append(r.Agents, state)
		}
	}
	return r, usererr.Join(troubles...)
}

func agentState(socket string) (state agent.State, found bool, err error) {
	reply, found, err := askAgent(socket, agent.Status)
	if err != nil || !found {
		return state, false, err
	}
	if err := json.Unmarshal(reply.Stdout, &state); err != nil {
		return state, false, usererr.Wrap("read the agent's answer", err, "it may have another version; run gatepass agent stop")
	}
	return state, true, nil
}

func printAgent(out io.Writer, s command.Screen, a agent.State) error {
	fmt.Fprintf(out, "agent %d %s for %s, up %s, exits after %s without a request\n",
		a.PID, usererr.Escape(a.Version), usererr.Escape(a.Config), time.Since(a.Started).Round(time.Second), a.IdleExit)
	if len(a.Variables) > 0 {
		fmt.Fprintf(out, "environment: %s\n", usererr.Escape(strings.Join(a.Variables, ", ")))
	}
	if version.Differ(a.Version, version.String()) {
		fmt.Fprintf(out, "warning: gatepass is version %s\n", version.String())
	}
	if a.Replaced {
		fmt.Fprintf(out, "warning: %s was replaced; this agent still runs the previous version\n", usererr.Escape(a.Program))
	}
	if a.Problem != "" {
		fmt.Fprintf(out, "problem: %s\n", usererr.Escape(a.Problem))
	}
	if a.Warning != "" {
		fmt.Fprintf(out, "warning: %s\n", usererr.Escape(a.Warning))
	}
	if len(a.Tokens) == 0 {
		_, err := fmt.Fprintln(out, "no tokens in memory")
		return err
	}
	t := command.NewTable("FOR", "LEFT", "LAST USED", "TOKEN HASH")
	for _, held := range a.Tokens {
		name := held.Host
		if held.Path != "" {
			name += "/" + held.Path
		}
		t.Row(name, time.Until(held.ExpiresAt).Round(time.Second).String(), time.Since(held.LastUsed).Round(time.Second).String()+" ago", "sha256:"+held.Hash)
	}
	_, err := io.WriteString(out, t.Text(s))
	return err
}

func (cmd agentCommands) stop(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	stopped := 0
	var troubles []error
	for _, socket := range agent.Sockets(cmd.Getenv) {
		_, found, err := askAgent(socket, agent.Stop)
		if err == nil && found {
			stopped++
			err = awaitEnd(socket)
		}
		troubles = append(troubles, err)
	}
	if err := usererr.Join(troubles...); err != nil {
		return err
	}
	text := "no agent was running"
	switch {
	case stopped == 1:
		text = "the agent was stopped; its tokens are forgotten"
	case stopped > 1:
		text = fmt.Sprintf("%d agents were stopped; their tokens are forgotten", stopped)
	}
	_, err := fmt.Fprintln(cmd.Stdout, text)
	return err
}

// awaitEnd waits until the agent no longer answers.
func awaitEnd(socket string) error {
	for until := time.Now().Add(agentWait); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if _, found, err := askAgent(socket, agent.Status); err != nil || !found {
			return nil // it has ended, or is too far gone to answer
		}
	}
	return usererr.New("stop the agent", "it still answers", "stop it by its process ID; see gatepass agent status")
}

// askAgent asks the agent at a socket; found is false if none runs.
func askAgent(socket, operation string) (reply agent.Reply, found bool, err error) {
	reply, found, err = agent.AskAt(socket, agent.Call{Operation: operation, Config: "/"}, time.Now().Add(agentWait))
	if errors.Is(err, agent.ErrDeadline) {
		return agent.Reply{}, false, usererr.New("ask the agent", "it did not answer in time", "stop the process "+agent.Program+" of this user; git starts another")
	}
	if err != nil {
		return agent.Reply{}, false, usererr.Wrap("ask the agent", err, "")
	}
	if found && reply.Exit != 0 {
		return agent.Reply{}, false, errors.New(string(reply.Stderr))
	}
	return reply, found, nil
}
