package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/internal/usererr"
)

const joinAbout = `Prints a token by which a workspace that has nothing else to prove itself with
is let in by a broker of the same store, once and within --ttl. Write it to a
file in the workspace, and have its source say
join_token_file=PATH. The workspace then has a session that it renews for as long
as the rule exists and the workspace is not revoked.

--rule names the rule of the broker's configuration that is for it, one with
"join: {}". Whoever shows the token second is refused, and the broker's audit log
says so.

A terminal keeps what it shows; there it is printed only with --show.

Example:
  gatepass workspace join-token sb-1a2b3c --rule agents > /run/sb-1a2b3c/join`

// defaultJoinTTL is enough for a sandbox to start.
const defaultJoinTTL = 5 * time.Minute

// joinReport is the JSON of "workspace join-token".
type joinReport struct {
	Workspace string    `json:"workspace"`
	Rule      string    `json:"rule"`
	ExpiresAt time.Time `json:"expires_at"`
	JoinToken string    `json:"join_token"`
}

func (w *app) joinTokenCommand() *cli.Command {
	return &cli.Command{
		Name: "join-token", Usage: "let a workspace in at a broker, once",
		UsageText: "gatepass workspace join-token ID --rule NAME [--ttl D] [--show] [--json]", Description: joinAbout,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "rule", Usage: "the `NAME` of the broker's rule"},
			&cli.DurationFlag{Name: "ttl", Usage: "how `LONG` it waits to be used, up to 10m", DefaultText: "5m"},
			&cli.BoolFlag{Name: "show", Usage: "print it to a terminal too", DisableDefaultText: true},
			storeFlag(), jsonFlag(),
		},
		Action: w.workspaceJoinToken,
	}
}

func (w *app) workspaceJoinToken(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	ttl := defaultJoinTTL
	if c.IsSet("ttl") {
		ttl = c.Duration("ttl")
	}
	switch {
	case c.String("rule") == "":
		return usage(c, "--rule is missing")
	case ttl <= 0 || ttl > identity.MaxJoinTTL:
		return usage(c, fmt.Sprintf("--ttl is more than nothing and up to %v", identity.MaxJoinTTL))
	}
	if err := identity.CheckJoinRule(c.String("rule")); err != nil {
		return usage(c, "--rule: "+err.Error())
	}
	if isTerminal(w.stdout) && !c.Bool("show") {
		return usererr.New("print the join token", "standard output is a terminal", "write it to a file or pipe it to where it is needed, or add --show")
	}
	s, err := w.store(c)
	if err != nil {
		return err
	}
	now := time.Now()
	token, err := identity.IssueJoinToken(c.Context, s, now, id, c.String("rule"), ttl)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(w.stdout, joinReport{id, c.String("rule"), now.Add(ttl).UTC().Truncate(time.Second), token.Reveal()})
	}
	_, err = fmt.Fprintln(w.stdout, token.Reveal())
	return err
}
