package broker

import (
	"context"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
)

// A workspace that is refused for asking too often is written down once a second,
// and no refusal goes uncounted; what others get is written down as ever.
func TestAFloodIsCountedAndNotWrittenDown(t *testing.T) {
	journal, clock := new(paper), time.Unix(1e9, 0)
	limiter := &Limiter{Limits: func() Limits { return Limits{Rate: 1, Burst: 1} }, Now: func() time.Time { return clock }}
	vend := audited(journal, func() time.Time { return clock }, limited(limiter, func(context.Context, Workspace, api.TokenRequest) (Grant, error) { return Grant{}, nil }))
	ask := func(id string) bool {
		_, err := vend(t.Context(), Workspace{ID: id}, api.TokenRequest{})
		return err == nil
	}
	granted, refused := 0, 0
	for range 5 {
		for range 1000 {
			if ask("loud") {
				granted++
			} else {
				refused++
			}
			clock = clock.Add(time.Millisecond)
		}
		if !ask("quiet") {
			t.Error("another workspace is refused")
		}
	}
	clock = clock.Add(time.Minute)
	if !ask("loud") {
		t.Error("a workspace that waited is refused")
	}
	lines, counted := map[string]int{}, 0
	for _, e := range journal.entries {
		lines[e.Workspace+" "+e.Decision]++
		counted += e.Repeated
	}
	if lines["loud refused"] > 6 || lines["quiet granted"] != 5 || lines["loud granted"] != granted+1 {
		t.Errorf("lines are %v, want at most one refusal a second, and %d granted", lines, granted+1)
	}
	if counted+lines["loud refused"] != refused || refused < 4000 {
		t.Errorf("%d are counted and %d written down of %d refusals", counted, lines["loud refused"], refused)
	}
}

func TestRepeatsForgets(t *testing.T) {
	var r repeats
	now := time.Unix(1e9, 0)
	for i := range 1000 {
		r.written(string(rune('a'+i)), true, now)
	}
	r.written("later", true, now.Add(2*sweepEvery))
	if len(r.of) != 1 {
		t.Errorf("%d are remembered, want one", len(r.of))
	}
	if _, ok := r.written("later", true, now); !ok { // a clock that went back
		t.Error("a refusal before the last one is not written down")
	}
}
