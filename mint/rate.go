package mint

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A Rate is what GitHub leaves the App of its hourly limit of requests, as the
// latest answer said
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
type Rate struct {
	Limit, Remaining int
	Reset            time.Time // when Remaining is Limit again; by GitHub's clock
}

// rate remembers the latest answer, and that to the latest mint of each installation.
type rate struct {
	mu    sync.Mutex // guards the rest
	known Rate
	of    map[int64]Rate // by installation
}

// Rate returns what is left. ok is false before GitHub has said so. Requests of
// tokens have limits of their own and do not count.
func (a *App) Rate() (r Rate, ok bool) {
	a.rate.mu.Lock()
	defer a.rate.mu.Unlock()
	return a.rate.known, a.rate.known.Limit > 0
}

// RateOf returns what is left for mints of one installation, as the answer to the latest
// one said, and before the first what [App.Rate] does. GitHub does not say whether mints
// count for the App or for the installation: readings of one window are taken for one
// count, and of these the lower holds.
func (a *App) RateOf(installation int64) (r Rate, ok bool) {
	a.rate.mu.Lock()
	defer a.rate.mu.Unlock()
	r, all := a.rate.of[installation], a.rate.known
	if r.Limit == 0 || all.Reset.Equal(r.Reset) && all.Remaining < r.Remaining {
		r = all
	}
	return r, r.Limit > 0
}

// note reads the headers of an answer to the App itself. Answers may overtake
// each other: within one window the lower count is the later one.
func (r *rate) note(c call, h http.Header) {
	limit, err := strconv.Atoi(h.Get("X-RateLimit-Limit"))
	left, leftErr := strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	reset, resetErr := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if c.token != "" || c.open || err != nil || leftErr != nil || resetErr != nil || limit <= 0 || left < 0 {
		return
	}
	said := Rate{limit, left, time.Unix(reset, 0)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = said.later(r.known)
	if c.installation == 0 {
		return
	}
	if r.of == nil {
		r.of = map[int64]Rate{}
	}
	r.of[c.installation] = said.later(r.of[c.installation])
}

// later returns the later of two readings.
func (r Rate) later(before Rate) Rate {
	if r.Reset.After(before.Reset) || r.Reset.Equal(before.Reset) && r.Remaining < before.Remaining {
		return r
	}
	return before
}
