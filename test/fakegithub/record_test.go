package fakegithub

import (
	"fmt"
	"testing"
	"time"
)

func TestCounts(t *testing.T) {
	w := newWorld(t, Options{RESTOnly: true, Now: still, RateLimit: 5})
	mint := fmt.Sprintf("/app/installations/%d/access_tokens", w.inst.ID)
	first := w.jwt()
	made := w.rest("POST", mint, first, "{}")
	w.wantStatus(made, 201)
	w.wantStatus(w.rest("POST", mint, first, "{}"), 201)
	w.wantStatus(w.rest("POST", mint, first, `{"repositories": ["none"]}`), 422)
	w.gh.Advance(time.Second)
	w.wantStatus(w.rest("GET", "/app", w.jwt(), ""), 200)
	w.wantStatus(w.rest("GET", "/app", signJWT(otherKey(), map[string]any{"alg": "RS256"}, w.claims()), ""), 401)

	w.wantStatus(w.rest("DELETE", "/installation/token", made.text("token"), ""), 204)
	w.wantStatus(w.rest("DELETE", "/installation/token", made.text("token"), ""), 401)
	w.gh.Revoke(w.token(nil))

	w.wantStatus(w.rest("GET", "/app", first, ""), 200)
	w.wantStatus(w.rest("GET", "/app", first, ""), 403)
	want := Counts{Mints: 2, Revokes: 1, JWTs: 2, RateLimited: 1}
	if got := w.gh.Counts(); got != want {
		t.Errorf("Counts = %+v, want %+v", got, want)
	}
}
