package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// maxFailures bounds how many workspaces a report names.
const maxFailures = 20

// A report is what a pass found and did, as --json prints it and the Lambda
// function answers.
type report struct {
	Workspaces int        `json:"workspaces"`        // in the ledger, or the only one
	IsPart     bool       `json:"is_part,omitempty"` // Workspaces are only those that the store's index says are due
	Due        int        `json:"due"`               // of them
	Refreshed  int        `json:"refreshed"`         // of those due, as are the next three
	Failed     int        `json:"failed"`
	Busy       int        `json:"busy"`
	Deferred   int        `json:"deferred"`
	Expired    int        `json:"expired"` // workspaces that had a token run out before the pass
	Minted     int        `json:"minted"`  // tokens, as are the next two
	Revoked    int        `json:"revoked"`
	Lost       int        `json:"lost"`
	Soonest    *time.Time `json:"soonest_expiry"` // of all delivered tokens, with IsPart of those that were due or are due next; null for none
	Seconds    float64    `json:"seconds"`
	Unready    string     `json:"unready,omitempty"` // why nothing can be minted
	Clock      string     `json:"clock,omitempty"`   // how far this machine's clock is off
	Error      string     `json:"error,omitempty"`   // why it failed as a whole
	Failures   []failure  `json:"failures,omitempty"`

	unready  error // why nothing can be minted
	first    error // of the failures; rather one that every workspace would get
	isBadKey bool  // GitHub refuses the App's key

	apps []workspace.PoolApp // that the pass had
}

// A failure is a workspace that is not well.
type failure struct {
	Workspace string `json:"workspace"`
	Error     string `json:"error"`
}

// add takes note of one workspace's result.
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

// isGeneral reports whether an error is one that every workspace would get: the
// App's key, the clock, or a GitHub that is down.
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

// verdict is why the pass failed as a whole; nil when it did not. err is the
// pass's own. A single workspace that fails for a reason of its own is no such
// reason, even when nothing else was due.
func (r *report) verdict(err error) error {
	isOver := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case err != nil && !(isOver && r.Deferred > 0): // what is deferred, the next pass does
		return err
	case r.unready != nil:
		return r.unready
	case r.Failed > 0 && r.Failed == r.Due && (r.Due > 1 || isGeneral(r.first)):
		return r.first
	}
	return nil
}

// isOfWorkspaces reports whether what failed is best told workspace by workspace.
func (r *report) isOfWorkspaces() bool {
	return r.unready == nil && r.first != nil && !isGeneral(r.first)
}

// String is the summary for people, without a line break.
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
	}{{r.Refreshed, "refreshed"}, {r.Failed, "failed"}, {r.Busy, "in another run's hands"}, {r.Deferred, "left to the next pass"}} {
		if part.n > 0 {
			fmt.Fprintf(&b, ", %d %s", part.n, part.what)
		}
	}
	fmt.Fprintf(&b, "; tokens: %d minted, %d revoked", r.Minted, r.Revoked)
	if r.Lost > 0 {
		fmt.Fprintf(&b, ", %d lost", r.Lost)
	}
	if r.Expired > 0 {
		fmt.Fprintf(&b, "; %d workspaces had a token that ran out", r.Expired)
	}
	if r.Soonest != nil {
		fmt.Fprintf(&b, "; the next one ends %s", r.Soonest.Format(time.RFC3339))
	}
	fmt.Fprintf(&b, " (%.1f s)", r.Seconds)
	if r.Clock != "" {
		b.WriteString("; " + r.Clock)
	}
	return b.String()
}
