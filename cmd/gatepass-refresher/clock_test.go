package main

import (
	"strings"
	"testing"
	"time"
)

// A wrong clock must do no harm: the round goes by GitHub's clock, and the summary, the
// log, /readyz and a metric report how far this machine's clock is off.
func TestAClockThatIsOffIsSaid(t *testing.T) {
	for _, c := range []struct {
		moved time.Duration // GitHub's clock, from ours
		want  string
	}{{-2 * time.Hour, "this machine's clock is 2h0m0s ahead of GitHub's"}, {2 * time.Hour, "this machine's clock is 2h0m0s behind GitHub's"}} {
		w := newWorld(t)
		w.Advance(age + c.moved)
		w.ResetRequests()
		r := w.refresher("--interval", "5m", "--listen", "none")
		r.monitor = newMonitor(time.Minute)
		made, err := w.refresh(r, request{})
		if err != nil || !strings.HasPrefix(made.Clock, c.want) || !strings.Contains(made.String(), c.want) {
			t.Errorf("the round = %v, %v, want %q", made.String(), err, c.want)
		}
		if log := w.log.String(); !strings.Contains(log, c.want) || !strings.Contains(log, `"level":"WARN"`) {
			t.Errorf("the log is %s, want a warning", log)
		}
		if status, body := r.monitor.get(t, "/readyz"); status != 200 || !strings.HasPrefix(body, "ok: "+c.want) {
			t.Errorf("/readyz answers %d %q, want %q", status, body, c.want)
		}
		if got := r.monitor.samples(t)["gatepass_clock_ahead_seconds"]; (got+c.moved.Seconds()) > 5 || got+c.moved.Seconds() < -5 {
			t.Errorf("gatepass_clock_ahead_seconds = %v, want %v", got, -c.moved.Seconds())
		}
	}
}

// A refresher with a wrong clock does not mint in each round.
func TestRoundsWithAClockThatIsOff(t *testing.T) {
	for _, moved := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		w := newWorld(t)
		w.settle("sb-1", "sb-2")
		w.Advance(moved)
		r := w.refresher("--interval", "5m", "--listen", "none")
		for range 3 {
			if made, err := w.refresh(r, request{}); err != nil || made.Failed != 0 {
				t.Fatalf("the round = %+v, %v", made, err)
			}
		}
		want := 2
		if moved < 0 {
			want = 0 // the tokens then last for hours
		}
		if w.asked() != want {
			t.Errorf("GitHub's clock moved by %v: %d tokens were asked for, want %d", moved, w.asked(), want)
		}
	}
}
