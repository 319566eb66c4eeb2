package rest

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/broker"
)

func TestBudgetIsOfOneWorkspaceAndHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, a := new(budget), account{"a", coreResource}
		for i, want := range []int{1, 0} {
			if left, err := b.take(a, 2, 1, time.Now()); err != nil || left.remaining() != want {
				t.Errorf("request %d: %d left, %v, want %d", i+1, left.remaining(), err, want)
			}
		}
		time.Sleep(20 * time.Minute)
		left, err := b.take(a, 2, 1, time.Now())
		refusal := broker.RefusalOf(err)
		if err == nil || refusal.Status != http.StatusTooManyRequests || refusal.RetryAfter != 40*time.Minute || left.remaining() != 0 {
			t.Errorf("request 3: %+v, %v, want to wait for 40 minutes", left, err)
		}
		if _, err := b.take(account{"b", coreResource}, 2, 1, time.Now()); err != nil {
			t.Errorf("another workspace: %v", err)
		}
		if _, err := b.take(account{"a", graphqlResource}, 2, 2, time.Now()); err != nil {
			t.Errorf("points of GraphQL: %v", err)
		}
		if _, err := b.take(account{"a", graphqlResource}, 2, 1, time.Now()); err == nil || !strings.Contains(err.Error(), "2 points of GraphQL") {
			t.Errorf("more points of GraphQL: %v, want that they are spent", err)
		}
		if left := b.remaining(a, 2, time.Now()); left.used != 2 || left.remaining() != 0 {
			t.Errorf("looking: %+v", left)
		}
		time.Sleep(40 * time.Minute)
		if left, err := b.take(a, 2, 1, time.Now()); err != nil || left.remaining() != 1 {
			t.Errorf("the next hour: %d left, %v, want 1", left.remaining(), err)
		}
		b.undo(a, time.Now())
		if left := b.remaining(a, 2, time.Now()); left.remaining() != 2 {
			t.Errorf("with one given back: %d left, want 2", left.remaining())
		}
		time.Sleep(2 * time.Hour)
		b.remaining(account{"c", coreResource}, 2, time.Now())
		if len(b.windows) != 1 {
			t.Errorf("%d windows are kept that are over", len(b.windows))
		}
	})
}

func TestBalanceInHeaders(t *testing.T) {
	mine := balance{limit: 2000, used: 500, reset: time.Unix(1800000000, 0)}
	for _, c := range []struct{ name, theirs, want string }{
		{"GitHub says nothing", "", "1500"},
		{"GitHub leaves more", "4999", "1500"},
		{"GitHub leaves less", "3", "3"},
		{"GitHub leaves nothing", "0", "0"},
		{"no number", "x", "1500"},
	} {
		h := http.Header{}
		if c.theirs != "" {
			h.Set("X-RateLimit-Remaining", c.theirs)
		}
		mine.write(h)
		if got := h.Get("X-RateLimit-Remaining"); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
