package plan

import (
	"fmt"
	"testing"
	"time"
)

// A simulated object: what its record and its Secret hold.
type simulated struct {
	in     Input
	mints  int
	status string // what the status says
	writes int    // of the status
}

// step plans and acts at one moment, as the reconciler does, and returns when to look
// again. A restart forgets nothing that is in the cluster.
func (s *simulated) step(t *testing.T, at time.Time) time.Time {
	t.Helper()
	s.in.Now = at
	for range 8 {
		d := Plan(s.in)
		if len(d.Steps) == 0 {
			status := fmt.Sprint(d.Ready, d.Permitted, d.Stalled, d.NextRefresh, s.in.Secret.Token)
			if status != s.status {
				s.status, s.writes = status, s.writes+1
			}
			return d.Again
		}
		for _, step := range d.Steps {
			switch step.Do {
			case Mint:
				s.mints++
				s.in.Held = append([]Held{{ID: fmt.Sprint(s.mints), Scope: mine, Made: at, Expires: at.Add(time.Hour)}}, s.in.Held...)
			case Deliver:
				s.in.Secret = Secret{Ours, step.Token, true}
				s.in.Delivered = at
			default:
				t.Fatalf("unexpected step %+v", step)
			}
		}
	}
	t.Fatal("the plan does not settle")
	return time.Time{}
}

// The model system mints at every reconcile, and everything again after a restart. Here a
// day costs what is due, and a restart nothing.
func TestADayCostsWhatIsDue(t *testing.T) {
	const objects, restarts = 200, 3
	total := 0
	for i := range objects {
		s := &simulated{in: in(none, func(i2 *Input) { i2.UID = fmt.Sprint(i) })}
		next := s.step(t, now)
		end := now.Add(24 * time.Hour)
		for restart := 1; next.Before(end); {
			if at := now.Add(time.Duration(restart) * 6 * time.Hour); restart <= restarts && !next.Before(at) {
				before := s.mints
				if due := s.step(t, at); due.Before(next.Add(-time.Minute)) || s.mints != before {
					t.Fatalf("a restart at %v changed the plan: %d mints, next at %v instead of %v", at, s.mints-before, due, next)
				}
				restart++
				continue
			}
			next = s.step(t, next)
			if used, ok := (&planner{in: s.in}).inSecret(); !ok || used.Expires.Sub(s.in.Now) < s.in.MinTTL {
				t.Fatalf("at %v the token in the Secret has too little life left", s.in.Now)
			}
		}
		total += s.mints
		// Frequent writes of a status keep Argo CD's controller busy (argoproj/argo-cd#13534, #6108).
		if s.writes > s.mints+2 {
			t.Errorf("the status was written %d times for %d mints", s.writes, s.mints)
		}
	}
	due := objects * 48 // a day has 48 refresh intervals of 30 minutes
	t.Logf("%d mints where %d are due: %.3f", total, due, float64(total)/float64(due))
	if float64(total) > 1.1*float64(due) {
		t.Errorf("%d mints, want 1.1 times the %d that are due at most", total, due)
	}
}
