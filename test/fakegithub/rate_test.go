package fakegithub

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// still is a clock that does not move, so that a slow machine changes nothing.
func still() time.Time { return time.Unix(1_800_000_000, 0) }

func TestSecondaryLimit(t *testing.T) {
	w := newWorld(t, Options{RESTOnly: true, Now: still, PointsPerMinute: 12})
	mint, read := fmt.Sprintf("/app/installations/%d/access_tokens", w.inst.ID), "/app"
	jwt := w.jwt()
	refused := func(method, path string, retryAfter string) {
		t.Helper()
		got := w.rest(method, path, jwt, "{}")
		if got.status != http.StatusForbidden || got.header.Get("Retry-After") != retryAfter || !strings.Contains(got.text("message"), "secondary rate limit") {
			t.Errorf("%s %s = %d, Retry-After %q, %s, want 403 after %s s", method, path, got.status, got.header.Get("Retry-After"), got.raw, retryAfter)
		}
	}

	w.wantStatus(w.rest("POST", mint, jwt, "{}"), 201) // 5 points at 0 s
	w.gh.Advance(20 * time.Second)
	w.wantStatus(w.rest("POST", mint, jwt, "{}"), 201) // 10 points
	refused("POST", mint, "40")
	w.wantStatus(w.rest("GET", read, jwt, ""), 200) // 11 points
	w.wantStatus(w.rest("GET", read, jwt, ""), 200) // 12 points
	refused("GET", read, "40")

	token := w.token(nil)
	w.wantStatus(w.rest("GET", "/installation/repositories", token, ""), 200) // the installation's first point
	w.wantStatus(w.rest("GET", "/rate_limit", token, ""), 200)

	w.gh.Advance(39 * time.Second)
	refused("POST", mint, "1")
	w.gh.Advance(time.Second)
	w.wantStatus(w.rest("POST", mint, jwt, "{}"), 201)
	refused("POST", mint, "20")
	if got := w.gh.Counts(); got.RateLimited != 4 || got.Mints != 3 {
		t.Errorf("Counts = %+v, want 3 mints and 4 refused", got)
	}
}

// What GitHub's documentation says of most requests.
func TestPointsOfARequest(t *testing.T) {
	for method, want := range map[string]int{"GET": 1, "HEAD": 1, "OPTIONS": 1, "POST": 5, "PUT": 5, "PATCH": 5, "DELETE": 5} {
		if got := costOf(method); got != want {
			t.Errorf("costOf(%s) = %d, want %d", method, got, want)
		}
	}
}

func TestWithoutASecondaryLimitNothingIsCounted(t *testing.T) {
	w := newWorld(t, Options{RESTOnly: true, Now: still})
	jwt := w.jwt()
	for range 200 {
		w.wantStatus(w.rest("GET", "/app", jwt, ""), 200)
	}
	if len(w.gh.state.points) != 0 {
		t.Errorf("points = %v, want none kept", w.gh.state.points)
	}
}

// The lag is of the token, by this GitHub's clock, and ends nothing.
func TestALagRefusesNewTokensForAWhile(t *testing.T) {
	for status, text := range map[int]string{401: "Bad credentials", 403: "Resource not accessible by integration", 404: "Not Found"} {
		w := newWorld(t, Options{})
		before := w.token(nil, "widgets")
		w.must(w.gh.SetLag(10*time.Second, status))
		token := w.token(nil, "widgets")
		w.must(w.gh.SetLag(0, status))
		w.wantStatus(w.rest("GET", "/installation/repositories", before, ""), 200)
		w.wantStatus(w.rest("GET", "/installation/repositories", w.token(nil, "widgets"), ""), 200)
		got := w.rest("GET", "/installation/repositories", token, "")
		if w.wantStatus(got, status); got.text("message") != text {
			t.Errorf("message = %q, want %q", got.text("message"), text)
		}
		w.wantStatus(w.rest("DELETE", "/installation/token", token, ""), 401)
		if got := w.rawGit("git-upload-pack", token, nil, nil); got.status != 401 {
			t.Errorf("git: %d, want 401", got.status)
		}
		w.gh.Advance(11 * time.Second)
		w.wantStatus(w.rest("GET", "/installation/repositories", token, ""), 200)
		w.wantStatus(w.rest("DELETE", "/installation/token", token, ""), 204)
		w.wantStatus(w.rest("DELETE", "/installation/token", token, ""), 401)
	}
	gh := newWorld(t, Options{}).gh
	for _, bad := range []int{0, http.StatusOK, http.StatusInternalServerError} {
		if gh.SetLag(time.Second, bad) == nil {
			t.Errorf("SetLag(%d) = nil, want an error", bad)
		}
	}
	if gh.SetLag(-time.Second, 401) == nil {
		t.Error("SetLag of less than nothing = nil, want an error")
	}
}
