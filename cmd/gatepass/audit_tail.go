package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// tailPoll is how often a file that is followed is looked at.
const tailPoll = 200 * time.Millisecond

func (w *app) auditTail(c *cli.Context) error {
	if c.NArg() > 1 {
		return usage(c, "name one file")
	}
	path := auditFiles(c)[0]
	count := c.Int("lines")
	if count < 0 {
		return usage(c, "--lines is 0 or more")
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
			err = w.printLine(l, c.Bool("json"))
		}
	}
	if err == nil && c.Bool("follow") {
		err = w.follow(c.Context, path, seq, c.Bool("json"))
	}
	if err != nil {
		return usererr.Wrap("read the audit log", err, "see gatepass audit verify")
	}
	return nil
}

// follow prints what is written after a line, in this file and in those that
// take its place, until ctx ends.
func (w *app) follow(ctx context.Context, path string, seq uint64, asJSON bool) error {
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
				return w.printLine(l, asJSON)
			}
			from := offset
			if offset, err = linesFrom(path, from, show); err != nil && from > 0 { // it was emptied and has grown again
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
