package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/internal/exposition"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// watched returns a monitor with a clock of the test.
func watched(interval time.Duration) (m *monitor, clock *time.Time) {
	now := time.Unix(1_800_000_000, 0)
	m = newMonitor(interval)
	m.now = func() time.Time { return now }
	m.metrics.succeeded.Set(exposition.Seconds(now))
	return m, &now
}

func (m *monitor) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestHealth(t *testing.T) {
	m, now := watched(5 * time.Minute)
	check := func(when, path string, status int, text string) {
		t.Helper()
		if got, body := m.get(t, path); got != status || body != text+"\n" {
			t.Errorf("%s: %s answers %d %q, want %d %q", when, path, got, body, status, text)
		}
	}
	check("at the start", "/healthz", 200, "ok")
	check("at the start", "/readyz", 503, "the first round has not ended yet")
	m.begin(*now)
	*now = now.Add(15 * time.Minute)
	check("in a long pass", "/healthz", 200, "ok")
	*now = now.Add(time.Second)
	check("in one that hangs", "/healthz", 503, "a round has been running for 15m1s")
	m.end(report{}, nil, nil)
	check("after a round", "/healthz", 200, "ok")
	check("after a round", "/readyz", 200, "ok")
	*now = now.Add(time.Hour)
	check("between two rounds", "/healthz", 200, "ok")
	m.begin(*now)
	m.end(report{}, nil, errors.New("read the ledger:\nno route\x1b[2J"))
	check("after one that failed", "/readyz", 503, `read the ledger:\nno route\x1b[2J`)
	check("after one that failed", "/healthz", 200, "ok")
	m.begin(*now)
	check("in the next one", "/readyz", 503, `read the ledger:\nno route\x1b[2J`)
	m.end(report{Due: 2, Failed: 1}, nil, nil)
	check("after one with a failure", "/readyz", 200, "ok")
	for _, path := range []string{"/", "/debug/pprof/", "/metrics/x"} {
		if status, _ := m.get(t, path); status != 404 {
			t.Errorf("%s answers %d, want 404", path, status)
		}
	}
	w := httptest.NewRecorder()
	if m.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/healthz", nil)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /healthz answers %d, want 405", w.Code)
	}
}

func TestMetrics(t *testing.T) {
	m, now := watched(5 * time.Minute)
	m.begin(*now)
	*now = now.Add(1500 * time.Millisecond)
	for _, e := range []workspace.Event{
		{Type: workspace.Generated},
		{Type: workspace.Generated},
		{Type: workspace.Ended},
		{Type: workspace.Lost},
		{Type: workspace.Failed, Err: &mint.Error{Kind: mint.NotInstalled}},
		{Type: workspace.Failed, Err: errors.New("disk full")},
	} {
		m.event(e)
	}
	soonest := now.Add(time.Hour)
	m.end(report{Workspaces: 7, Due: 3, Refreshed: 2, Failed: 1, Soonest: &soonest}, nil, nil)
	m.metrics.rated(mint.Rate{Limit: 5000, Remaining: 4321})
	m.metrics.appsAre([]workspace.PoolApp{{Name: "gone", App: new(mint.App)}})
	m.metrics.appsAre([]workspace.PoolApp{{Name: "first", App: new(mint.App)}, {Name: "b", App: new(mint.App), NotReady: errors.New("no key")}})
	healthy := exposition.Seconds(*now)
	*now = now.Add(time.Minute)
	m.begin(*now)
	m.end(report{}, nil, errors.New("the store does not answer"))
	samples := m.samples(t)
	for name, want := range map[string]float64{
		`gatepass_refresher_rounds_total{result="ok"}`:          0,
		`gatepass_refresher_rounds_total{result="partial"}`:     1,
		`gatepass_refresher_rounds_total{result="failed"}`:      1,
		`gatepass_refresher_round_duration_seconds_sum`:         1.5,
		`gatepass_refresher_round_duration_seconds_count`:       2,
		`gatepass_refresher_passes_total{result="ok"}`:          0, // the former names, for one version
		`gatepass_refresher_passes_total{result="partial"}`:     1,
		`gatepass_refresher_passes_total{result="failed"}`:      1,
		`gatepass_refresher_pass_duration_seconds_sum`:          1.5,
		`gatepass_refresher_pass_duration_seconds_count`:        2,
		`gatepass_refresher_workspaces{state="known"}`:          7,
		`gatepass_refresher_workspaces{state="failed"}`:         1, // of the last round that could read the ledger
		`gatepass_refresher_interval_seconds`:                   300,
		`gatepass_refresher_last_success_timestamp_seconds`:     healthy,
		`gatepass_tokens_minted_total`:                          2,
		`gatepass_tokens_revoked_total`:                         1,
		`gatepass_tokens_lost_total`:                            1,
		`gatepass_token_failures_total{reason="not_installed"}`: 1,
		`gatepass_token_failures_total{reason="other"}`:         1,
		`gatepass_token_failures_total{reason="rate_limited"}`:  0,
		`gatepass_token_soonest_expiry_timestamp_seconds`:       exposition.Seconds(soonest),
		`gatepass_github_rate_limit_remaining`:                  4321,
		`gatepass_github_rate_limit`:                            5000,
		`gatepass_app_usable{app="first"}`:                      1,
		`gatepass_app_usable{app="b"}`:                          0,
	} {
		if got, ok := samples[name]; !ok || got != want {
			t.Errorf("%s is %v (there: %v), want %v", name, got, ok, want)
		}
	}
	if _, ok := samples[`gatepass_app_usable{app="gone"}`]; ok {
		t.Error("an App that left the pool is still shown")
	}
}

// A round over the store's index does not know how many workspaces there are, and no
// metric says it.
func TestAPassByTheIndexCountsNoWorkspaces(t *testing.T) {
	m, now := watched(5 * time.Minute)
	m.begin(*now)
	made := report{Workspaces: 3, Due: 3, Refreshed: 3, IsPart: true}
	m.end(made, nil, nil)
	samples := m.samples(t)
	if _, ok := samples[`gatepass_refresher_workspaces{state="known"}`]; ok || samples[`gatepass_refresher_workspaces{state="due"}`] != 3 {
		t.Errorf("the metrics are %v, want 3 due and none known", samples)
	}
	if got, want := made.String(), "3 workspaces were due, 3 refreshed;"; !strings.HasPrefix(got, want) {
		t.Errorf("String = %q, want %q first", got, want)
	}
	var log bytes.Buffer
	(&refresher{log: slog.New(slog.NewTextHandler(&log, nil))}).logRound(made, nil)
	if got := log.String(); strings.Contains(got, "workspaces=") || !strings.Contains(got, "due=3") {
		t.Errorf("the log has %q, want due alone", got)
	}
}

var (
	headLine   = regexp.MustCompile(`^# (HELP|TYPE) ([a-z_]+) (.+)$`)
	sampleLine = regexp.MustCompile(`^(([a-z_]+)(?:\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})?) (-?[0-9.]+(?:e[+-][0-9]+)?)$`)
)

// samples parses the page strictly by its format.
func (m *monitor) samples(t *testing.T) map[string]float64 {
	t.Helper()
	status, body := m.get(t, "/metrics")
	if status != 200 || !strings.HasSuffix(body, "\n") {
		t.Fatalf("/metrics answers %d %q", status, body)
	}
	all, kinds := map[string]float64{}, map[string]string{}
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if head := headLine.FindStringSubmatch(line); head != nil {
			if head[1] == "TYPE" {
				kinds[head[2]] = head[3]
			}
			continue
		}
		found := sampleLine.FindStringSubmatch(line)
		if found == nil {
			t.Errorf("%q is no line of the text format", line)
			continue
		}
		kind := kinds[strings.TrimSuffix(strings.TrimSuffix(found[2], "_sum"), "_count")]
		if kind == "" || (kind == "counter") != strings.HasSuffix(found[2], "_total") {
			t.Errorf("%s is of the type %q", found[2], kind)
		}
		value, err := strconv.ParseFloat(found[3], 64)
		if _, twice := all[found[1]]; err != nil || twice {
			t.Errorf("%q: %v, twice: %v", line, err, twice)
		}
		all[found[1]] = value
	}
	return all
}

// Every reason of mint has its own label.
func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for kind := mint.Refused; kind <= mint.Replaced; kind++ {
		label := reason(&mint.Error{Kind: kind})
		if label == "" || seen[label] {
			t.Errorf("kind %d has the label %q", kind, label)
		}
		seen[label] = true
	}
	if got := reason(mint.ErrWider); got != reasonWider {
		t.Errorf("reason(ErrWider) = %s", got)
	}
}
