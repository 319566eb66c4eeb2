package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/workspace"
)

// newLogger writes a line for each audit event and for each run. It escapes text that
// comes from GitHub or a workspace, because logs are read on terminals.
func newLogger(w io.Writer, form string) *slog.Logger {
	if form == "text" {
		return slog.New(slog.NewTextHandler(usererr.TextWriter(w), nil))
	}
	return slog.New(slog.NewJSONHandler(usererr.JSONWriter(w), nil))
}

var levels = map[workspace.Type]slog.Level{
	workspace.Failed: slog.LevelError,
	workspace.Lost:   slog.LevelWarn,
	workspace.Moved:  slog.LevelWarn,
}

func (r *refresher) logEvent(e workspace.Event) {
	r.log.LogAttrs(context.Background(), levels[e.Type], string(e.Type), e.LogValue().Group()...)
}

// logPass writes the summary line of a run.
func (r *refresher) logPass(made report, err error) {
	attrs := []slog.Attr{
		slog.Int("due", made.Due), slog.Int("refreshed", made.Refreshed),
		slog.Int("failed", made.Failed), slog.Int("busy", made.Busy), slog.Int("deferred", made.Deferred), slog.Int("expired", made.Expired),
		slog.Int("minted", made.Minted), slog.Int("revoked", made.Revoked), slog.Int("lost", made.Lost), slog.Float64("seconds", made.Seconds),
	}
	if !made.IsPart {
		attrs = append([]slog.Attr{slog.Int("workspaces", made.Workspaces)}, attrs...)
	}
	if made.Soonest != nil {
		attrs = append(attrs, slog.Time("soonest_expiry", *made.Soonest))
	}
	level := slog.LevelInfo
	if made.Clock != "" {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("clock", made.Clock))
	}
	switch {
	case err != nil:
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", usererr.Escape(err.Error())))
	case made.Failed > 0 || made.Expired > 0:
		level = slog.LevelWarn
	}
	r.log.LogAttrs(context.Background(), level, "pass", attrs...)
}

// logFailures writes a line for each workspace that failed.
func (r *refresher) logFailures(made report) {
	for _, f := range made.Failures {
		r.log.Error("workspace_failed", "workspace", f.Workspace, "error", f.Error)
	}
}
