package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/probe"
	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/deploy"
	"github.com/gatepass/gatepass/internal/exposition"
)

// refusing is a broker on a socket that refuses everything, with a status.
func refusing(t *testing.T, status *atomic.Int32) (source string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "broker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, `{"title":"no"}`)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return "broker+unix://" + path
}

// It runs on, prints only what changes, and serves it to Prometheus.
func TestProbeAgain(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusForbidden)
	cases := filepath.Join(t.TempDir(), "cases.yaml")
	if err := os.WriteFile(cases, []byte("- {repo: acme/canary}\n- {repo: acme/payroll, refused: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, in := io.Pipe()
	done := make(chan int, 1)
	source := refusing(t, &status)
	go func() {
		done <- run(ctx, []string{"probe", cases, "--source", source, "--every", "10s", "--listen", "127.0.0.1:0"}, os.Getenv, strings.NewReader(""), in, io.Discard)
		_ = in.Close()
	}()
	lines := bufio.NewScanner(out)
	for _, want := range []string{`failed: read acme/canary: ask the broker at socket `, `passed: read acme/payroll$`} {
		if !lines.Scan() || !regexp.MustCompile(want).MatchString(lines.Text()) {
			t.Fatalf("it prints %q, want %q", lines.Text(), want)
		}
	}
	cancel()
	if status := <-done; status != 0 {
		t.Errorf("it ends with %d, want 0", status)
	}
}

func TestProbeSaysWhatChanged(t *testing.T) {
	v := newWatcher()
	of := func(a, b probe.State) []probe.Result {
		return []probe.Result{{Case: "a", State: a, Took: time.Second}, {Case: `b "x"`, State: b}}
	}
	for _, c := range []struct {
		results []probe.Result
		want    string
	}{
		{of(probe.Passed, probe.Passed), "a b"},
		{of(probe.Passed, probe.Passed), ""},
		{of(probe.Passed, probe.Violated), "b"},
		{of(probe.Failed, probe.Violated), "a"},
	} {
		var names []string
		for _, r := range v.take(c.results) {
			names = append(names, r.Case[:1])
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("changed are %q, want %q", got, c.want)
		}
	}
	v.take([]probe.Result{{Case: "\u202e\x1b[31m\u200b"}, {Case: "b"}})
	page := scrape(v)
	for _, want := range []string{
		`gatepass_probe_passed{case="a"} 0`, `gatepass_probe_violated{case="a"} 0`, `gatepass_probe_violated{case="b \"x\""} 1`,
		`gatepass_probe_duration_seconds{case="a"} 1`, "gatepass_probe_last_round_timestamp_seconds 1",
		"gatepass_build_info{goversion=", `gatepass_probe_passed{case="\\u202e\\x1b[31m\\u200b"} 0`, // people read a page of metrics with curl
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s: %s", want, page)
		}
	}
}

func scrape(v *watcher) string {
	w := httptest.NewRecorder()
	exposition.Handler(v.metrics).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// The alerts use metrics that exist.
func TestProbeAlerts(t *testing.T) {
	text, err := deploy.Files.ReadFile("prometheus/probe-alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	v := newWatcher()
	v.take([]probe.Result{{Case: "a"}})
	page := scrape(v)
	asked := regexp.MustCompile(`gatepass_[a-z_]+`).FindAllString(string(text), -1)
	for _, name := range asked {
		if !strings.Contains(page, "# TYPE "+name+" ") {
			t.Errorf("an alert asks for %s, which there is not", name)
		}
	}
	if len(asked) < 3 {
		t.Errorf("the alerts ask for %q alone", asked)
	}
}

func TestProbeUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"a", "b"}, {"a", "--every", "1s"}, {"a", "--every", "-1m"}, {"a", "--listen", ":0"}} {
		if got := run(t.Context(), append([]string{"probe"}, args...), os.Getenv, strings.NewReader(""), io.Discard, io.Discard); got != command.ExitUsage {
			t.Errorf("probe %q = %d, want %d", args, got, command.ExitUsage)
		}
	}
}
