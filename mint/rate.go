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

// rate remembers the latest answer.
type rate struct {
	mu    sync.Mutex // guards known
	known Rate
}

// Rate returns what is left. ok is false before GitHub has said so. Requests of
// tokens have limits of their own and do not count.
func (a *App) Rate() (r Rate, ok bool) {
	a.rate.mu.Lock()
	defer a.rate.mu.Unlock()
	return a.rate.known, a.rate.known.Limit > 0
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
	if said.Reset.After(r.known.Reset) || said.Reset.Equal(r.known.Reset) && left < r.known.Remaining {
		r.known = said
	}
}
