package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// maxFailures is the largest number of workspaces that a report names.
const maxFailures = 20

// A report is what a round found and did, as --json prints it and the Lambda function
// answers.
type report struct {
	Workspaces int        `json:"workspaces"`        // in the ledger; 1 if the round was for one workspace
	IsPart     bool       `json:"is_part,omitempty"` // Workspaces are only those that the store's index says are due
	Due        int        `json:"due"`               // of them
	Refreshed  int        `json:"refreshed"`         // of those due, as are the next three
	Failed     int        `json:"failed"`
	Busy       int        `json:"busy"`
	Deferred   int        `json:"deferred"`
	Expired    int        `json:"expired"` // workspaces with a token that expired before the round
	Minted     int        `json:"minted"`  // tokens, as are the next two
	Revoked    int        `json:"revoked"`
	Lost       int        `json:"lost"`
	Soonest    *time.Time `json:"soonest_expiry"` // the first expiry of all delivered tokens; with IsPart, only of tokens that were due or are due next; null if there is none
	Seconds    float64    `json:"seconds"`
	Unready    string     `json:"unready,omitempty"` // why nothing can be minted
	Clock      string     `json:"clock,omitempty"`   // how far this machine's clock is off
	Error      string     `json:"error,omitempty"`   // why the round failed as a whole
	Failures   []failure  `json:"failures,omitempty"`

	unready  error // why nothing can be minted
	first    error // the first of the failures; one that every workspace would get comes before others
	isBadKey bool  // GitHub refuses the App's key

	apps []workspace.PoolApp // the Apps of the round
}

// A failure is a workspace whose refresh failed.
type failure struct {
	Workspace string `json:"workspace"`
	Error     string `json:"error"`
}

// add records the result of one workspace.
func (r *report) add(result workspace.Result) {
	if result.Err == nil || result.IsLeft() {
		return
	}
	if len(r.Failures) < maxFailures {
		r.Failures = append(r.Failures, failure{result.Workspace, usererr.Escape(result.Err.Error())})
	}
	if r.first == nil || !isGeneral(r.first) && isGeneral(result.Err) {
		r.first = result.Err
	}
	if refused, ok := errors.AsType[*mint.Error](result.Err); ok && refused.Kind == mint.BadKey {
		r.isBadKey = true
	}
}

// isGeneral reports whether every workspace would get this error: it is about the App's
// key, the clock, or a GitHub that is down.
func isGeneral(err error) bool {
	refused, ok := errors.AsType[*mint.Error](err)
	if !ok {
		return false
	}
	switch refused.Kind {
	case mint.BadKey, mint.Skewed, mint.Unavailable, mint.Unsigned:
		return true
	}
	return false
}

func (r *report) count(s workspace.Summary) {
	r.Workspaces, r.Due, r.Refreshed, r.Failed, r.Busy, r.Deferred = s.Workspaces, s.Due, s.Refreshed, s.Failed, s.Busy, s.Deferred
	r.IsPart, r.Expired, r.Minted, r.Revoked, r.Lost = s.IsPart, s.Expired, s.Minted, s.Revoked, s.Lost
	if !s.Soonest.IsZero() {
		soonest := s.Soonest.UTC()
		r.Soonest = &soonest
	}
	if r.unready != nil {
		r.Unready = usererr.Escape(r.unready.Error())
	}
}

// verdict returns why the round failed as a whole, or nil. err is the round's own
// error. A single workspace that fails for a reason of its own does not fail the round,
// even if nothing else was due.
func (r *report) verdict(err error) error {
	isOver := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case err != nil && !(isOver && r.Deferred > 0): // the next round does what is deferred
		return err
	case r.unready != nil:
		return r.unready
	case r.Failed > 0 && r.Failed == r.Due && (r.Due > 1 || isGeneral(r.first)):
		return r.first
	}
	return nil
}

// isOfWorkspaces reports whether the failures are best reported workspace by workspace.
func (r *report) isOfWorkspaces() bool {
	return r.unready == nil && r.first != nil && !isGeneral(r.first)
}

// String returns the summary for people, on one line.
func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d workspaces were due", r.Due, r.Workspaces)
	if r.IsPart {
		b.Reset()
		fmt.Fprintf(&b, "%d workspaces were due", r.Due)
	}
	for _, part := range []struct {
		n    int
		what string
	}{{r.Refreshed, "refreshed"}, {r.Failed, "failed"}, {r.Busy, "in another run"}, {r.Deferred, "deferred to the next round"}} {
		if part.n > 0 {
			fmt.Fprintf(&b, ", %d %s", part.n, part.what)
		}
	}
	fmt.Fprintf(&b, "; tokens: %d minted, %d revoked", r.Minted, r.Revoked)
	if r.Lost > 0 {
		fmt.Fprintf(&b, ", %d lost", r.Lost)
	}
	if r.Expired > 0 {
		fmt.Fprintf(&b, "; %d workspaces had an expired token", r.Expired)
	}
	if r.Soonest != nil {
		fmt.Fprintf(&b, "; the next one expires %s", r.Soonest.Format(time.RFC3339))
	}
	fmt.Fprintf(&b, " (%.1f s)", r.Seconds)
	if r.Clock != "" {
		b.WriteString("; " + r.Clock)
	}
	return b.String()
}

// newLogger writes a line for each audit event and for each round. It escapes text that
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

// logRound writes the summary line of a round.
func (r *refresher) logRound(made report, err error) {
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
	r.log.LogAttrs(context.Background(), level, "round", attrs...)
}

// logFailures writes a line for each workspace that failed.
func (r *refresher) logFailures(made report) {
	for _, f := range made.Failures {
		r.log.Error("workspace_failed", "workspace", f.Workspace, "error", f.Error)
	}
}
