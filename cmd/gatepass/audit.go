package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

const (
	// auditFile is where docs/broker.md puts the log.
	auditFile = "/var/log/gatepass/audit.jsonl"

	auditAbout = `The audit log is what gatepass-broker writes before it answers: JSON lines that
are chained by their hashes. Without FILE it is ` + auditFile + `.`

	auditVerifyAbout = `Finds a line that was changed, dropped, repeated or moved, and says which. Name
the files of a log that was rotated in their order, the oldest first.

Lines missing at the end, and a file that was written anew from some line on,
are found by --head alone: it is a hash that the broker showed earlier, in its
log when it started or at /readyz, or that a copy has.

Examples:
  gatepass audit verify
  gatepass audit verify audit.jsonl.2 audit.jsonl.1 audit.jsonl --head 3c9f…`

	auditSearchAbout = `Prints the lines to which all options apply. A time is 2026-01-02, or
2026-01-02T15:04:05Z, or how long ago: 90m, 24h.

Examples:
  gatepass audit search --workspace sb-1a2b3c --since 24h
  gatepass audit search --hash 'Xn2…=' --json`
)

// auditKinds are the kinds of lines.
var auditKinds = []string{
	broker.KindRequest, broker.KindIntent, broker.KindMinted, broker.KindRevoked, broker.KindBlocked, broker.KindAdmitted,
	broker.KindLogin, broker.KindGitHub, broker.KindExchange, broker.KindSession, broker.KindPush, broker.KindFetch, broker.KindAPI, broker.KindLFS, broker.KindReported, broker.KindConfig,
	audit.KindHead, audit.KindTruncated, audit.KindRecovered,
}

func (w *app) auditCommand() *cli.Command {
	return &cli.Command{
		Name:        "audit",
		Usage:       "verify and read a broker's audit log",
		UsageText:   "gatepass audit verify | tail | search",
		Description: auditAbout,
		Subcommands: []*cli.Command{
			{
				Name: "verify", Usage: "say whether the log is what was written",
				UsageText: "gatepass audit verify [FILE]... [--head HASH]... [--json]", Description: auditVerifyAbout,
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "head", Usage: "a `HASH` that the log has to hold; may be repeated"},
					jsonFlag(),
				},
				Action: w.auditVerify,
			},
			{
				Name: "tail", Usage: "print the last lines",
				UsageText: "gatepass audit tail [FILE] [-f] [-n COUNT] [--json]",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what is written from now on", DisableDefaultText: true},
					&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Value: 10, Usage: "`COUNT` of lines to begin with"},
					jsonFlag(),
				},
				Action: w.auditTail,
			},
			{
				Name: "search", Usage: "print the lines about a workspace, a repository or a token",
				UsageText: "gatepass audit search [FILE]... [--workspace ID] [--repo OWNER/NAME] [--decision WORD] [--reason WORD] [--kind WORD] [--hash HASH] [--since TIME] [--until TIME] [--json]", Description: auditSearchAbout,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "workspace", Usage: "the workspace's `ID`"},
					&cli.StringFlag{Name: "repo", Usage: "the repository, `OWNER/NAME` or its id"},
					&cli.StringFlag{Name: "decision", Usage: "granted or refused, a `WORD`"},
					&cli.StringFlag{Name: "reason", Usage: "of a refusal, a `WORD`: identity, rule, barred, repository, permission, limit, github…"},
					&cli.StringFlag{Name: "kind", Usage: "of the line, a `WORD`: " + strings.Join(auditKinds, ", ")},
					&cli.StringFlag{Name: "hash", Usage: "of a token, a `HASH` as in GitHub's audit log"},
					&cli.StringFlag{Name: "since", Usage: "from that `TIME` on"},
					&cli.StringFlag{Name: "until", Usage: "up to that `TIME`"},
					jsonFlag(),
				},
				Action: w.auditSearch,
			},
		},
	}
}

// auditFiles are the arguments, or the one place.
func auditFiles(c *cli.Context) []string {
	if c.Args().Present() {
		return c.Args().Slice()
	}
	return []string{auditFile}
}

// A chainReport is what audit verify says as JSON.
type chainReport struct {
	OK    bool     `json:"ok"`
	Lines uint64   `json:"lines"`
	First uint64   `json:"first"`
	Last  uint64   `json:"last"`
	Whole bool     `json:"begins_chain"`
	Head  string   `json:"head"`
	Notes []string `json:"notes,omitempty"`
	File  string   `json:"file,omitempty"` // where it does not hold
	Line  int      `json:"line,omitempty"`
	Why   string   `json:"why,omitempty"`
}

func (w *app) auditVerify(c *cli.Context) error {
	paths := auditFiles(c)
	r, err := audit.Verify(paths...)
	if err == nil {
		err = missingHeads(paths, c.StringSlice("head"))
	}
	if c.Bool("json") {
		v := chainReport{OK: err == nil, Lines: r.Lines, First: r.First, Last: r.Last, Whole: r.IsWhole(), Head: r.Head, Notes: r.Notes}
		if broken, ok := errors.AsType[*audit.Broken](err); ok {
			v.File, v.Line = broken.File, broken.Line
		}
		if err != nil {
			v.Why = err.Error()
		}
		if jsonErr := writeJSON(w.stdout, v); jsonErr != nil {
			return jsonErr
		}
	} else if err == nil {
		err = w.printChain(r)
	}
	if err != nil {
		return usererr.Wrap("verify the audit log", err, "")
	}
	return nil
}

func (w *app) printChain(r audit.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d lines hold, number %d to %d\nhead %s\n", r.Lines, r.First, r.Last, r.Head)
	if !r.IsWhole() {
		fmt.Fprintf(&b, "they go on from a file that was not named, whose head is %s\n", r.Prev)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	_, err := w.stdout.Write([]byte(b.String()))
	return err
}

// missingHeads returns an error where a hash is not that of a line.
func missingHeads(paths, heads []string) error {
	missing := map[string]bool{}
	for _, h := range heads {
		missing[strings.ToLower(h)] = true
	}
	if len(missing) == 0 {
		return nil
	}
	err := eachLine(paths, func(l audit.Line) error {
		delete(missing, l.Record.Hash)
		return nil
	})
	for h := range missing {
		err = usererr.Join(err, fmt.Errorf("it has no line %s: lines are missing at the end, or it was written anew", h))
	}
	return err
}
