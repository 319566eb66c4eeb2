package fakegithub

import (
	"net/http"
	"slices"
	"time"
)

// SecondaryLimit is how many points GitHub lets one caller spend in a minute
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits).
// GitHub counts them by endpoint, this double all together, which is stricter.
const SecondaryLimit = 900

const pointsWindow = time.Minute

// A spending is one request that was let through.
type spending struct {
	at     time.Time
	points int
}

// costOf is what GitHub's documentation says of most requests.
func costOf(method string) int {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return 1
	}
	return 5
}

// spendPoints counts one request by the secondary limit and refuses it where too few
// points are left. A refused request costs nothing. The caller holds s.mu.
func (c *call) spendPoints(principal string) *refusal {
	limit := c.s.opts.PointsPerMinute
	if limit <= 0 {
		return nil
	}
	now, cost := c.s.Now(), costOf(c.r.Method)
	spent := slices.DeleteFunc(c.s.state.points[principal], func(p spending) bool { return !now.Before(p.at.Add(pointsWindow)) })
	c.s.state.points[principal] = spent
	if wait := waitFor(spent, limit-cost, now); wait > 0 {
		return SecondaryRateLimited(wait).refusal
	}
	c.s.state.points[principal] = append(spent, spending{now, cost})
	return nil
}

// waitFor returns how long it takes until no more than most points of spent are of the
// last minute.
func waitFor(spent []spending, most int, now time.Time) time.Duration {
	total := 0
	for _, p := range spent {
		total += p.points
	}
	for _, p := range spent {
		if total <= most {
			return 0
		}
		if total -= p.points; total <= most {
			return p.at.Add(pointsWindow).Sub(now)
		}
	}
	if total > most {
		return pointsWindow // one request costs more than the limit
	}
	return 0
}
