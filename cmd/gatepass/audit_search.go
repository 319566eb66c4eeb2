package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

func (w *app) auditSearch(c *cli.Context) error {
	f := audit.Filter{
		Workspace: c.String("workspace"), Repository: c.String("repo"), Decision: c.String("decision"),
		Reason: c.String("reason"), Kind: c.String("kind"), Hash: c.String("hash"),
	}
	now := time.Now()
	for name, to := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		at, err := timeOf(c.String(name), now)
		if err != nil {
			return usage(c, "--"+name+": "+err.Error())
		}
		*to = at
	}
	err := eachLine(auditFiles(c), func(l audit.Line) error {
		if !f.Match(l.Record) {
			return nil
		}
		return w.printLine(l, c.Bool("json"))
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

// linesFrom calls yield for every line from an offset on, and returns where they
// end. One that is cut off is passed over: it is being written.
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

// timeOf reads a time, or how long ago it was. "" is the zero time.
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
	return time.Time{}, fmt.Errorf("%q is no time; write 2026-01-02, 2026-01-02T15:04:05Z or 24h", text)
}
