package fakegithub

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// get is a request that may well fail.
func (w *world) get(path string) (status int, body string, err error) {
	w.t.Helper()
	client := w.gh.Client()
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(w.t.Context(), "GET", w.gh.URL()+path, nil)
	w.must(err)
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, string(raw), err
}

func TestFaultsHappenTheGivenNumberOfTimes(t *testing.T) {
	w := newWorld(t, Options{})
	w.gh.Fail(To("GET", "/site"), Status(502), 2)
	w.gh.Fail(To("POST", "/site"), Status(500), -1)
	for i, want := range []int{502, 502, 200, 200} {
		if status, _, err := w.get("/repos/acme/site"); status != want || err != nil {
			t.Errorf("request %d = %d, %v, want %d", i, status, err, want)
		}
	}
	cancel := w.gh.Fail(To("", "/site"), Status(503), -1)
	for range 3 {
		if status, _, _ := w.get("/repos/acme/site"); status != 503 {
			t.Errorf("status = %d, want 503", status)
		}
	}
	cancel()
	if status, _, _ := w.get("/repos/acme/site"); status != 200 {
		t.Errorf("status after cancel = %d, want 200", status)
	}
}

func TestRateLimitFaults(t *testing.T) {
	w := newWorld(t, Options{})
	for _, test := range []struct {
		fault  Fault
		status int
		text   string
	}{
		{RateLimited(90 * time.Second), 429, "rate limit exceeded"},
		{SecondaryRateLimited(89500 * time.Millisecond), 403, "secondary rate limit"},
	} {
		w.gh.Fail(To("", "/site"), test.fault, 1)
		got := w.rest("GET", "/repos/acme/site", "", "")
		if got.status != test.status || got.header.Get("Retry-After") != "90" || !strings.Contains(got.text("message"), test.text) {
			t.Errorf("answer = %d, Retry-After %q, %q, want %d, 90, %q", got.status, got.header.Get("Retry-After"), got.text("message"), test.status, test.text)
		}
	}
}

func TestConnectionFaults(t *testing.T) {
	w := newWorld(t, Options{})
	w.gh.Fail(To("", "/site"), Reset(), 1)
	if _, _, err := w.get("/repos/acme/site"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: err = %v, want a connection reset", err)
	}
	w.gh.Fail(To("", "/site"), Truncate(10), 1)
	if _, body, err := w.get("/repos/acme/site"); !errors.Is(err, io.ErrUnexpectedEOF) || len(body) != 10 {
		t.Errorf("truncated: %d bytes, err = %v, want 10 and an unexpected end", len(body), err)
	}
	w.gh.Fail(To("", "/site"), Truncate(1<<20), 1)
	if status, _, err := w.get("/repos/acme/site"); status != 200 || err != nil {
		t.Errorf("an answer shorter than the cut = %d, %v, want it whole", status, err)
	}
	w.gh.Fail(To("", "/site"), Slow(100*time.Millisecond), 1)
	start := time.Now()
	if status, _, _ := w.get("/repos/acme/site"); status != 200 || time.Since(start) < 100*time.Millisecond {
		t.Errorf("slow: %d after %s, want 200 after 100 ms", status, time.Since(start))
	}
}

func TestFaultsReachGit(t *testing.T) {
	w := newWorld(t, Options{})
	ws := w.workspace(w.token(mayRead))
	url := w.gh.URL() + "/acme/widgets"
	w.gh.Fail(To("", "/info/refs"), Status(503), 1)
	ws.refused("Service Unavailable", "ls-remote", url)
	w.gh.Fail(To("POST", "/git-upload-pack"), Truncate(20), 1)
	ws.refused("fatal", "ls-remote", url)
	ws.git("ls-remote", url)
}

func TestDelay(t *testing.T) {
	w := newWorld(t, Options{Delay: 50 * time.Millisecond})
	start := time.Now()
	if status, _, _ := w.get("/repos/acme/site"); status != 200 || time.Since(start) < 50*time.Millisecond {
		t.Errorf("answer = %d after %s, want 200 after 50 ms", status, time.Since(start))
	}
}
