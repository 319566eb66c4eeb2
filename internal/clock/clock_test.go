package clock

import (
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/clocktest"
)

func TestBothClocks(t *testing.T) {
	then := time.Now()
	end := then.Add(time.Minute)
	for _, c := range []struct {
		name        string
		now         time.Time
		since, left time.Duration
	}{
		{"at once", then, 0, time.Minute},
		{"half a minute later", then.Add(30 * time.Second), 30 * time.Second, 30 * time.Second},
		{"after two hours of sleep", clocktest.Slept(then, 2*time.Hour), 2 * time.Hour, time.Minute - 2*time.Hour},
		{"after two hours, and set back by one", clocktest.Slept(then.Add(2*time.Hour), -time.Hour), 2 * time.Hour, time.Minute - 2*time.Hour},
		{"set back by an hour", clocktest.Slept(then, -time.Hour), 0, time.Minute},
		{"by a clock without the other", then.Round(0).Add(2 * time.Minute), 2 * time.Minute, -time.Minute},
	} {
		if got := Since(then, c.now); got != c.since {
			t.Errorf("%s: Since = %v, want %v", c.name, got, c.since)
		}
		if got := Left(end, c.now); got != c.left {
			t.Errorf("%s: Left = %v, want %v", c.name, got, c.left)
		}
	}
}

func TestMark(t *testing.T) {
	now := time.Now()
	stated := time.Unix(now.Unix()+3600, 0) // as an answer states it
	end := Mark(stated, now)
	if !end.Equal(stated) {
		t.Errorf("Mark = %v, want %v", end, stated)
	}
	if left := Left(end, clocktest.Slept(now.Add(2*time.Hour), -2*time.Hour)); left > -59*time.Minute {
		t.Errorf("two hours later by a clock that was set back, %v are left, want none", left)
	}
	if left := Left(stated, clocktest.Slept(now, 2*time.Hour)); left > -59*time.Minute {
		t.Errorf("after two hours of sleep, %v are left, want none", left)
	}
}
