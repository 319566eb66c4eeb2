package operator

import (
	"testing"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/plan"
)

func TestAFightSlowsDown(t *testing.T) {
	m, now, mends := &memory{}, time.Now(), 0
	for range 60 * 100 { // another writer, a hundred times a second
		if !m.mustWaitToRepair(now) {
			mends++
		}
		now = now.Add(10 * time.Millisecond)
	}
	if mends < repairsPerMinute || mends > repairsPerMinute+13 {
		t.Errorf("%d mends in a minute", mends)
	}
	if m.mustWaitToRepair(now.Add(time.Hour)) {
		t.Error("a mend an hour later has to wait")
	}
}

func TestFailuresWaitLongerAndLonger(t *testing.T) {
	m, now := &memory{failed: map[plan.Action]failure{}}, time.Now()
	wait := func(atLeast time.Duration, quick bool) time.Duration {
		m.fail(plan.Mint, plan.Refusal{Reason: v1.ReasonFailed}, now, 5*time.Minute, atLeast, quick)
		return m.failed[plan.Mint].Until.Sub(now)
	}
	var got []time.Duration
	for range 8 {
		got = append(got, wait(0, true))
	}
	for i, want := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
		if got[i] != want*time.Second {
			t.Errorf("attempt %d waits %v, want %v", i+1, got[i], want*time.Second)
		}
	}
	m.succeed(plan.Mint)
	if got := wait(0, false); got != 5*time.Minute {
		t.Errorf("a refusal waits %v, want the retry interval", got)
	}
	if got := wait(time.Hour, false); got != time.Hour {
		t.Errorf("GitHub asked for an hour, the operator waits %v", got)
	}
	m.resetIfChanged(fingerprintOf("another spec"))
	if len(m.failed) != 0 {
		t.Error("another spec waits for the failure of the one before")
	}
}
