package fakegithub

import (
	"net/http"
	"testing"
	"time"
)

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
