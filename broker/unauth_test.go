package broker

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Who may not ask cannot fill the log either.
func TestStrangersAreWrittenDownAFewTimes(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBench(t)
	j := b.journal
	s := b.start(Config{StrangerLimits: func() Limits { return Limits{Rate: 1, Burst: 3} }, Now: func() time.Time { return now }})
	h := s.Handler()
	ask := func(from string) int {
		r := httptest.NewRequest(http.MethodPost, "/v1/token", strings.NewReader("{}"))
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for i := range 10 {
		want := http.StatusUnauthorized
		if i >= 3 {
			want = http.StatusTooManyRequests
		}
		if got := ask("192.0.2.1:1234"); got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	if n := len(j.entries); n != 3 {
		t.Errorf("%d lines are written, want 3", n)
	}
	if err := s.UnauthExceeded(&http.Request{RemoteAddr: "192.0.2.1:5"}); err == nil {
		t.Error("its address had not too many")
	}
	for range 10 {
		if err := s.UnauthExceeded(&http.Request{RemoteAddr: "192.0.2.2:5"}); err != nil {
			t.Errorf("another address had too many: %v", err)
		}
	}
	if got := ask("192.0.2.2:1"); got != http.StatusUnauthorized {
		t.Errorf("another address: %d", got)
	}
	now = now.Add(2 * time.Second)
	if got := ask("192.0.2.1:99"); got != http.StatusUnauthorized {
		t.Errorf("later: %d", got)
	}
}
