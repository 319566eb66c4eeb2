package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/config"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/urfave/cli/v2"
)

const agentAbout = `gatepass-agent holds this workspace's tokens in memory. git's helper starts it
when it is needed, and it ends by itself when nobody asks any more.

Examples:
  gatepass agent status
  gatepass agent stop        the next git command starts a new one`

// agentWait is how long a running agent may take to answer for itself.
const agentWait = 5 * time.Second

func (w *world) agentCommand() *cli.Command {
	return &cli.Command{
		Name:        "agent",
		Usage:       "look at the program that holds the tokens, or end it",
		UsageText:   "gatepass agent status [--json]\ngatepass agent stop",
		Description: agentAbout,
		Subcommands: []*cli.Command{
			{
				Name:      "status",
				Usage:     "say whether an agent runs and what it holds, without the tokens",
				UsageText: "gatepass agent status [--json]",
				Flags:     []cli.Flag{jsonFlag()},
				Action:    w.agentStatus,
			},
			{
				Name:      "stop",
				Usage:     "end the agent; its tokens are forgotten",
				UsageText: "gatepass agent stop",
				Action:    w.agentStop,
			},
		},
	}
}

// agentReport is the JSON of "agent status".
type agentReport struct {
	Running bool         `json:"running"`
	Agent   *agent.State `json:"agent,omitempty"`
}

func (w *world) agentStatus(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	reply, found, err := w.askAgent(agent.Status)
	if err != nil {
		return err
	}
	r := agentReport{Running: found}
	if found {
		r.Agent = new(agent.State)
		if err := json.Unmarshal(reply.Stdout, r.Agent); err != nil {
			return oneline.Wrap("read the agent's answer", err, "it may be of another version; run gatepass agent stop")
		}
	}
	if c.Bool("json") {
		return writeJSON(w.stdout, r)
	}
	return w.printAgent(r)
}

func (w *world) printAgent(r agentReport) error {
	if !r.Running {
		_, err := fmt.Fprintln(w.stdout, "no agent is running; git starts one when it needs a token")
		return err
	}
	a := r.Agent
	fmt.Fprintf(w.stdout, "agent %d for %s, up %s, ends after %s without a question\n",
		a.PID, oneline.Escape(a.Config), time.Since(a.Started).Round(time.Second), a.IdleExit)
	if a.Problem != "" {
		fmt.Fprintf(w.stdout, "problem: %s\n", oneline.Escape(a.Problem))
	}
	if a.Warning != "" {
		fmt.Fprintf(w.stdout, "warning: %s\n", oneline.Escape(a.Warning))
	}
	if len(a.Tokens) == 0 {
		_, err := fmt.Fprintln(w.stdout, "no tokens in memory")
		return err
	}
	t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FOR\tLEFT\tLAST USED\tTOKEN HASH")
	for _, held := range a.Tokens {
		name := held.Host
		if held.Path != "" {
			name += "/" + held.Path
		}
		fmt.Fprintf(t, "%s\t%s\t%s ago\tsha256:%s\n", oneline.Escape(name),
			time.Until(held.ExpiresAt).Round(time.Second), time.Since(held.LastUsed).Round(time.Second), held.Hash)
	}
	return t.Flush()
}

func (w *world) agentStop(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	_, found, err := w.askAgent(agent.Stop)
	if err != nil {
		return err
	}
	text := "no agent was running"
	if found {
		text = "the agent has ended; its tokens are forgotten"
		if err := w.awaitEnd(); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(w.stdout, text)
	return err
}

// awaitEnd waits until nobody answers any more.
func (w *world) awaitEnd() error {
	for until := time.Now().Add(agentWait); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if _, found, err := w.askAgent(agent.Status); err != nil || !found {
			return nil // gone, or so far gone that it cannot answer
		}
	}
	return oneline.New("stop the agent", "it still answers", "end it by its process id; see gatepass agent status")
}

// askAgent asks a running agent; found is false where none runs.
func (w *world) askAgent(operation string) (reply agent.Reply, found bool, err error) {
	path, err := config.Path(w.getenv)
	if err != nil {
		return agent.Reply{}, false, err
	}
	reply, found, err = agent.AskRunning(agent.Call{Operation: operation, Config: path}, w.getenv, time.Now().Add(agentWait))
	if errors.Is(err, agent.ErrDeadline) {
		return agent.Reply{}, false, oneline.New("ask the agent", "no answer in time", "end the process "+agent.Program+" of this user; git starts another")
	}
	if err != nil {
		return agent.Reply{}, false, oneline.Wrap("ask the agent", err, "")
	}
	if found && reply.Exit != 0 {
		return agent.Reply{}, false, errors.New(string(reply.Stderr))
	}
	return reply, found, nil
}
