package main

import (
	"maps"
	"slices"

	"github.com/gatepass/gatepass/internal/exposition"
)

// page is all metrics. No label has a value for each workspace: there may be
// thousands, and the log names them.
func (m *monitor) page() *exposition.Page {
	var p exposition.Page
	m.mu.Lock()
	m.writePasses(&p)
	m.writeTokens(&p)
	m.mu.Unlock()
	p.Build()
	return &p
}

func (m *monitor) writePasses(p *exposition.Page) {
	p.ByLabel("gatepass_refresher_passes_total", "counter",
		"Passes by result: ok, partial (single workspaces failed), failed (as a whole).", "result", results, m.passes)
	const took = "gatepass_refresher_pass_duration_seconds"
	p.Metric(took, "summary", "How long passes took.")
	p.Sample(took+"_sum", "", "", m.took.Seconds())
	p.Sample(took+"_count", "", "", float64(m.passes[passOK]+m.passes[passPartial]+m.passes[passFailed]))
	p.ByLabel("gatepass_refresher_workspaces", "gauge", "Workspaces in the last pass by what became of them; known and expired are counted beside the others.",
		"state", []string{"known", "due", "refreshed", "failed", "busy", "deferred", "expired"}, map[string]int{
			"known": m.last.Workspaces, "due": m.last.Due, "refreshed": m.last.Refreshed, "failed": m.last.Failed,
			"busy": m.last.Busy, "deferred": m.last.Deferred, "expired": m.last.Expired,
		})
	p.Single("gatepass_refresher_interval_seconds", "gauge", "How often a pass is made.", m.interval.Seconds())
	p.Single("gatepass_refresher_last_success_timestamp_seconds", "gauge",
		"When the last pass ended that did not fail as a whole; before the first one, when the program started.", exposition.Seconds(m.healthy))
}

func (m *monitor) writeTokens(p *exposition.Page) {
	p.Single("gatepass_clock_ahead_seconds", "gauge", "How far this machine's clock is ahead of GitHub's; less than 0 where it is behind.", m.ahead.Seconds())
	p.Single("gatepass_tokens_minted_total", "counter", "Tokens that GitHub made.", float64(m.minted))
	p.Single("gatepass_tokens_revoked_total", "counter", "Tokens that were revoked.", float64(m.revoked))
	p.Single("gatepass_tokens_lost_total", "counter", "Tokens that may live until their hour is over and that nobody has.", float64(m.lost))
	p.ByLabel("gatepass_token_failures_total", "counter", "Tokens that could not be made, by reason.", "reason",
		append(slices.Sorted(maps.Values(reasons)), reasonOther, reasonWider), m.failed)
	if m.last.Soonest != nil {
		p.Single("gatepass_token_soonest_expiry_timestamp_seconds", "gauge", "When the first of all delivered tokens ends.", exposition.Seconds(*m.last.Soonest))
	}
	if m.isRated {
		p.Single("gatepass_github_rate_limit_remaining", "gauge", "Requests that GitHub still takes from the App in this hour.", float64(m.rate.Remaining))
		p.Single("gatepass_github_rate_limit", "gauge", "Requests that GitHub takes from the App in an hour.", float64(m.rate.Limit))
	}
}
