package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

const (
	// auditFile is the path of the log in docs/broker.md.
	auditFile = "/var/log/gatepass/audit.jsonl"

	auditAbout = `gatepass-broker writes the audit log before it answers: JSON lines that are
chained by their hashes. Without FILE, the commands read ` + auditFile + `.`

	auditVerifyAbout = `Finds lines that were changed, dropped, repeated or moved, and names the first.
Name the files of a rotated log in their order, the oldest first.

Only --head finds lines that are missing at the end, and a file that was rewritten
from some line on. It is a hash that the broker showed earlier, in its log at the
start or at /readyz, or a hash from a copy of the log.

Examples:
  gatepass audit verify
  gatepass audit verify audit.jsonl.2 audit.jsonl.1 audit.jsonl --head 3c9f…`

	auditSearchAbout = `Prints the lines that match all options. A time is 2026-01-02,
2026-01-02T15:04:05Z, or a time ago such as 90m or 24h.

Examples:
  gatepass audit search --workspace sb-1a2b3c --since 24h
  gatepass audit search --hash 'Xn2…=' --json`
)

// auditKinds are the kinds of lines, in today's words. A search takes the log's words, too.
var auditKinds = []string{
	broker.KindRequest, broker.KindIntent, broker.KindMinted, broker.KindRevoked, audit.Word(broker.KindBlocked), audit.Word(broker.KindUnblocked),
	broker.KindLogin, broker.KindGitHub, broker.KindExchange, broker.KindSession, broker.KindPush, broker.KindFetch, broker.KindAPI, broker.KindLFS, broker.KindReported, broker.KindConfig,
	audit.KindHead, audit.KindTruncated, audit.KindRecovered,
}

// auditCommands are the commands of "gatepass audit".
type auditCommands struct{ *command.Environment }

func (cmd auditCommands) command() *cli.Command {
	return &cli.Command{
		Name:        "audit",
		Usage:       "verify and read a broker's audit log",
		UsageText:   "gatepass audit verify | tail | search",
		Description: auditAbout,
		Subcommands: []*cli.Command{
			{
				Name: "verify", Usage: "check that the log was not changed",
				UsageText: "gatepass audit verify [FILE]... [--head HASH]... [--json]", Description: auditVerifyAbout,
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "head", Usage: "a `HASH` that the log must contain; may be repeated"},
					command.JSONFlag(),
				},
				Action: cmd.verify,
			},
			{
				Name: "tail", Usage: "print the last lines",
				UsageText: "gatepass audit tail [FILE] [-f] [-n COUNT] [--json]",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "continue with new lines as they are written", DisableDefaultText: true},
					&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Value: 10, Usage: "the `COUNT` of last lines to print"},
					command.JSONFlag(),
				},
				Action: cmd.tail,
			},
			{
				Name: "search", Usage: "print the lines about a workspace, a repository or a token",
				UsageText: "gatepass audit search [FILE]... [--workspace ID] [--repo OWNER/NAME] [--decision WORD] [--reason WORD] [--kind WORD] [--hash HASH] [--since TIME] [--until TIME] [--json]", Description: auditSearchAbout,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "workspace", Usage: "the workspace's `ID`"},
					&cli.StringFlag{Name: "repo", Usage: "the repository, `OWNER/NAME` or its ID"},
					&cli.StringFlag{Name: "decision", Usage: "the decision, a `WORD`: granted or refused"},
					&cli.StringFlag{Name: "reason", Usage: "the reason of a refusal, a `WORD`: identity, rule, blocked, repository, permission, limit, github…"},
					&cli.StringFlag{Name: "kind", Usage: "the kind of the line, a `WORD`: " + strings.Join(auditKinds, ", ")},
					&cli.StringFlag{Name: "hash", Usage: "a token's `HASH`, as in GitHub's audit log"},
					&cli.StringFlag{Name: "since", Usage: "the earliest `TIME`"},
					&cli.StringFlag{Name: "until", Usage: "the latest `TIME`"},
					command.JSONFlag(),
				},
				Action: cmd.search,
			},
		},
	}
}

// auditFiles are the arguments, or auditFile if there are none.
func auditFiles(c *cli.Context) []string {
	if c.Args().Present() {
		return c.Args().Slice()
	}
	return []string{auditFile}
}

// A chainReport is the JSON of "audit verify".
type chainReport struct {
	OK    bool     `json:"ok"`
	Lines uint64   `json:"lines"`
	First uint64   `json:"first"`
	Last  uint64   `json:"last"`
	Whole bool     `json:"begins_chain"`
	Head  string   `json:"head"`
	Notes []string `json:"notes,omitempty"`
	File  string   `json:"file,omitempty"` // where the chain is broken
	Line  int      `json:"line,omitempty"`
	Why   string   `json:"why,omitempty"`
}

func (cmd auditCommands) verify(c *cli.Context) error {
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
		if jsonErr := command.WriteJSON(cmd.Stdout, v); jsonErr != nil {
			return jsonErr
		}
	} else if err == nil {
		err = printChain(cmd.Stdout, r)
	}
	if err != nil {
		return usererr.Wrap("verify the audit log", err, "")
	}
	return nil
}

func printChain(out io.Writer, r audit.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d lines are intact, number %d to %d\nhead %s\n", r.Lines, r.First, r.Last, r.Head)
	if !r.IsWhole() {
		fmt.Fprintf(&b, "they continue another file, whose head is %s\n", r.Prev)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	_, err := out.Write([]byte(b.String()))
	return err
}

// missingHeads returns an error for heads that are not the hash of any line.
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
		err = usererr.Join(err, fmt.Errorf("it has no line with the hash %s: lines are missing at the end, or the file was rewritten", h))
	}
	return err
}

// printLine prints a line as JSON, or for people.
func printLine(out io.Writer, l audit.Line, asJSON bool) error {
	text := string(usererr.JSON(l.Text)) // another version may have written it without escapes
	if !asJSON {
		text = command.CutTo(lineText(l.Record), command.Columns(out))
	}
	_, err := io.WriteString(out, text+"\n")
	return err
}

// lineText formats a line in columns: time, kind, decision, workspace, what was
// requested, why it was refused, and the rest by name. The widths fit usual values, so
// that later lines align too.
func lineText(r audit.Record) string {
	var asked []string
	for _, word := range []string{r.Operation, r.Repository, r.Ref, targetText(r)} {
		if word != "" {
			asked = append(asked, usererr.Escape(word))
		}
	}
	text := fmt.Sprintf("%s  %-9s  %-8s  %-12s  %-24s  %s", r.Time.UTC().Format("2006-01-02T15:04:05.000Z"), command.Dash(audit.Word(r.Kind)), command.Dash(r.Decision), command.Dash(r.Workspace), command.Dash(strings.Join(asked, " ")), reasonText(r))
	for _, c := range []struct{ name, value string }{
		{"rule", r.Rule}, {"subject", r.Subject}, {"token", r.Entry.Hash}, {"request", r.RequestID},
	} {
		if c.value != "" {
			text += fmt.Sprintf("  %s=%q", c.name, c.value)
		}
	}
	return usererr.Escape(strings.TrimRight(text, " "))
}

// targetText is what an operator blocked or unblocked.
func targetText(r audit.Record) string {
	if r.Kind == broker.KindBlocked || r.Kind == broker.KindUnblocked {
		return r.Target
	}
	return ""
}

// reasonText is the reason: a word for it and a sentence.
func reasonText(r audit.Record) string {
	word := audit.Word(r.Reason)
	if word == "" || r.Detail == "" {
		return word + r.Detail
	}
	return word + ": " + r.Detail
}

func (cmd auditCommands) search(c *cli.Context) error {
	f := audit.Filter{
		Workspace: c.String("workspace"), Repository: c.String("repo"), Decision: c.String("decision"),
		Reason: c.String("reason"), Kind: c.String("kind"), Hash: c.String("hash"),
	}
	now := time.Now()
	for name, to := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		at, err := timeOf(c.String(name), now)
		if err != nil {
			return command.Usage(c, "--"+name+": "+err.Error())
		}
		*to = at
	}
	err := eachLine(auditFiles(c), func(l audit.Line) error {
		if !f.Match(l.Record) {
			return nil
		}
		return printLine(cmd.Stdout, l, c.Bool("json"))
	})
	if err != nil {
		return usererr.Wrap("search the audit log", err, "see gatepass audit verify")
	}
	return nil
}

// eachLine calls yield for every line of the files.
func eachLine(paths []string, yield func(audit.Line) error) error {
	for _, path := range paths {
		if _, err := linesFrom(path, 0, yield); err != nil {
			return err
		}
	}
	return nil
}

// linesFrom calls yield for every line from an offset on, and returns the offset after
// the last one. It skips a line without an end, which is still being written.
func linesFrom(path string, offset int64, yield func(audit.Line) error) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return offset, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return offset, err
	}
	n := 0
	for l, err := range audit.Read(f) {
		n++
		if errors.Is(err, audit.ErrTorn) {
			break
		}
		if err == nil {
			err = yield(l)
		}
		if err != nil {
			return offset, &audit.Broken{File: path, Line: n, Why: err}
		}
		offset += int64(len(l.Text)) + 1
	}
	return offset, nil
}

// timeOf parses a time, or a duration before now. "" is the zero time.
func timeOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02T15:04"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time; write 2026-01-02, 2026-01-02T15:04:05Z or 24h", text)
}

// tailPoll is how often follow looks at the file.
const tailPoll = 200 * time.Millisecond

func (cmd auditCommands) tail(c *cli.Context) error {
	if c.NArg() > 1 {
		return command.Usage(c, "name one file")
	}
	path := auditFiles(c)[0]
	count := c.Int("lines")
	if count < 0 {
		return command.Usage(c, "--lines must be 0 or more")
	}
	var last []audit.Line
	var seq uint64
	err := eachLine([]string{path}, func(l audit.Line) error {
		seq = l.Seq
		l.Text = append([]byte(nil), l.Text...)
		if last = append(last, l); len(last) > count {
			last = last[len(last)-count:]
		}
		return nil
	})
	for _, l := range last {
		if err == nil {
			err = printLine(cmd.Stdout, l, c.Bool("json"))
		}
	}
	if err == nil && c.Bool("follow") {
		err = cmd.follow(c.Context, path, seq, c.Bool("json"))
	}
	if err != nil {
		return usererr.Wrap("read the audit log", err, "see gatepass audit verify")
	}
	return nil
}

// follow prints the lines after line seq, in this file and in those that replace it,
// until ctx ends.
func (cmd auditCommands) follow(ctx context.Context, path string, seq uint64, asJSON bool) error {
	var seen os.FileInfo
	var offset int64
	for ctx.Err() == nil {
		info, err := os.Stat(path)
		if err == nil {
			if seen == nil || !os.SameFile(seen, info) || info.Size() < offset {
				offset = 0
			}
			seen = info
			show := func(l audit.Line) error {
				if l.Seq <= seq {
					return nil
				}
				seq = l.Seq
				return printLine(cmd.Stdout, l, asJSON)
			}
			from := offset
			if offset, err = linesFrom(path, from, show); err != nil && from > 0 { // it was truncated and has grown again
				offset, err = linesFrom(path, 0, show)
			}
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(tailPoll):
		}
	}
	return nil
}
