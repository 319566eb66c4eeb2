package main

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/gatepass/gatepass/internal/exposition"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

// metrics are counters over all rounds, and gauges of the last one. No metric has a
// label per workspace: there may be thousands, and the log names them.
type metrics struct {
	registry *prometheus.Registry

	rounds, failures      *prometheus.CounterVec
	took                  prometheus.Summary
	passes                *prometheus.CounterVec // the former name of rounds
	passTook              prometheus.Summary     // the former name of took
	minted, revoked, lost prometheus.Counter
	workspaces            *prometheus.GaugeVec
	succeeded, ahead      prometheus.Gauge
	// Vectors without a label: they have no sample until the value is known.
	soonest, limit, remaining *prometheus.GaugeVec
	// By App.
	appUsable, appLimit, appRemaining *prometheus.GaugeVec
}

func newMetrics(interval time.Duration, started time.Time) *metrics {
	registry := exposition.New()
	r := promauto.With(registry)
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return r.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return r.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry:   registry,
		rounds:     counters("gatepass_refresher_rounds_total", "Rounds by result: ok, partial (some workspaces failed), failed (the whole round).", "result"),
		took:       r.NewSummary(prometheus.SummaryOpts{Name: "gatepass_refresher_round_duration_seconds", Help: "How long rounds took."}),
		passes:     counters("gatepass_refresher_passes_total", "The former name of gatepass_refresher_rounds_total; the next version drops it.", "result"),
		passTook:   r.NewSummary(prometheus.SummaryOpts{Name: "gatepass_refresher_pass_duration_seconds", Help: "The former name of gatepass_refresher_round_duration_seconds; the next version drops it."}),
		workspaces: gauges("gatepass_refresher_workspaces", "Workspaces in the last round by outcome; known and expired are counted in addition to the others, and known only if the store has no index.", "state"),
		succeeded:  gauges("gatepass_refresher_last_success_timestamp_seconds", "When the last round ended that did not fail; before the first one, the start of the program.").WithLabelValues(),
		ahead:      gauges("gatepass_clock_ahead_seconds", "How far this machine's clock is ahead of GitHub's; negative if it is behind.").WithLabelValues(),
		minted:     counters("gatepass_tokens_minted_total", "Tokens that GitHub minted.").WithLabelValues(),
		revoked:    counters("gatepass_tokens_revoked_total", "Tokens that were revoked.").WithLabelValues(),
		lost:       counters("gatepass_tokens_lost_total", "Tokens that may be valid until their hour ends and that no workspace has.").WithLabelValues(),
		failures:   counters("gatepass_token_failures_total", "Tokens that could not be minted, by reason.", "reason"),
		soonest:    gauges("gatepass_token_soonest_expiry_timestamp_seconds", "When the first delivered token expires; if the store has an index, among the tokens that were due or are due next."),
		limit:      gauges("gatepass_github_rate_limit", "GitHub's hourly limit of the App's requests."),
		remaining:  gauges("gatepass_github_rate_limit_remaining", "How much of the App's hourly limit is left."),
	}
	m.appUsable = gauges("gatepass_app_usable", "Whether the App of that name in the store could be opened with its key.", "app")
	m.appLimit = gauges("gatepass_app_rate_limit", "GitHub's hourly limit of the App's requests.", "app")
	m.appRemaining = gauges("gatepass_app_rate_limit_remaining", "How much of the App's hourly limit is left.", "app")
	gauges("gatepass_refresher_interval_seconds", "The interval between rounds.").WithLabelValues().Set(interval.Seconds())
	m.succeeded.Set(exposition.Seconds(started))
	m.report(report{})
	for _, result := range []string{roundOK, roundPartial, roundFailed} {
		m.rounds.WithLabelValues(result) // 0 from the start, like the reasons below
		m.passes.WithLabelValues(result)
	}
	for _, reason := range append(slices.Collect(maps.Values(reasons)), reasonOther, reasonWider) {
		m.failures.WithLabelValues(reason)
	}
	return m
}

// ended counts a round.
func (m *metrics) ended(result string, took time.Duration) {
	m.rounds.WithLabelValues(result).Inc()
	m.took.Observe(took.Seconds())
	m.passes.WithLabelValues(result).Inc()
	m.passTook.Observe(took.Seconds())
}

// report shows the last round that could read the ledger.
func (m *metrics) report(made report) {
	for state, n := range map[string]int{
		"known": made.Workspaces, "due": made.Due, "refreshed": made.Refreshed, "failed": made.Failed,
		"busy": made.Busy, "deferred": made.Deferred, "expired": made.Expired,
	} {
		m.workspaces.WithLabelValues(state).Set(float64(n))
	}
	if made.IsPart {
		m.workspaces.DeleteLabelValues("known")
	}
	m.soonest.Reset()
	if made.Soonest != nil {
		m.soonest.WithLabelValues().Set(exposition.Seconds(*made.Soonest))
	}
}

// rated shows how much of GitHub's rate limit is left.
func (m *metrics) rated(rate mint.Rate) {
	m.limit.WithLabelValues().Set(float64(rate.Limit))
	m.remaining.WithLabelValues().Set(float64(rate.Remaining))
}

// appsAre shows each App of the last round.
func (m *metrics) appsAre(apps []workspace.PoolApp) {
	if len(apps) == 0 {
		return // the store was not read
	}
	for _, v := range []*prometheus.GaugeVec{m.appUsable, m.appLimit, m.appRemaining} {
		v.Reset()
	}
	for _, a := range apps {
		usable := 0.0
		if a.NotReady == nil {
			usable = 1
		}
		m.appUsable.WithLabelValues(a.Name).Set(usable)
		if rate, ok := a.App.Rate(); ok {
			m.appLimit.WithLabelValues(a.Name).Set(float64(rate.Limit))
			m.appRemaining.WithLabelValues(a.Name).Set(float64(rate.Remaining))
		}
	}
}
