package serve

import (
	"context"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
)

func isTrue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// readings are the metrics that are looked up when somebody asks.
func (d *daemon) readings() []Reading {
	rate := func(part func(mint.Rate) float64) func() float64 {
		return func() float64 {
			r, known := d.app.Rate()
			if !known {
				return -1
			}
			return part(r)
		}
	}
	return []Reading{
		{Name: "ready", Help: "Whether all parts of /readyz are.", Value: func() float64 { return isTrue(d.probe.look(context.Background()).Ready) }},
		{Name: "tokens_live", Help: "Tokens in memory that work.", Value: d.tokensLive},
		{Name: "audit_head_seq", Help: "Number of the last line of the audit log.", Value: func() float64 { seq, _ := d.journal.Head(); return float64(seq) }},
		{Name: "audit_writable", Help: "Whether the audit log can be written.", Value: func() float64 { return isTrue(d.journal.Ready() == nil) }},
		{Name: "audit_copies_dropped_total", Help: "Copies of audit lines that were not sent.", IsTotal: true, Value: func() float64 { return float64(d.copies.Dropped()) }},
		{Name: "spans_dropped_total", Help: "Trace spans that were not sent.", IsTotal: true, Value: func() float64 { return float64(d.traces.Dropped()) }},
		{Name: "blocklist_readable", Help: "Whether the list of what is blocked can be read; while it cannot, nothing is given.", Value: func() float64 { return isTrue(d.broker.Bars.Check(context.Background()) == nil) }},
		{Name: "blocklist_read_failures_total", Help: "Readings of the list of what is blocked that failed.", IsTotal: true, Value: func() float64 { return float64(d.broker.Bars.FailedReadings()) }},
		{Name: "config_generation", Help: "How many configurations were in force since the start.", Value: func() float64 { return float64(d.config.current.Load().number) }},
		{Name: "config_last_reload_success", Help: "Whether the configuration's files are in force.", Value: func() float64 { return isTrue(d.config.problem() == nil) }},
		{Name: "github_rate_limit", Help: "GitHub's hourly limit of requests; -1 before it has said so.", Value: rate(func(r mint.Rate) float64 { return float64(r.Limit) })},
		{Name: "github_rate_remaining", Help: "What is left of it; -1 before it has said so.", Value: rate(func(r mint.Rate) float64 {
			if !d.app.time().Before(r.Reset) {
				return float64(r.Limit)
			}
			return float64(r.Remaining)
		})},
		{Name: "clock_ahead_seconds", Help: "How far this machine's clock is ahead of GitHub's; less than 0 where it is behind.", Value: d.clockAhead},
		{Name: "certificate_expiry_seconds", Help: "When the certificate runs out, in Unix time; 0 without one.", Value: d.certificateExpiry},
	}
}

func (d *daemon) tokensLive() float64 {
	n := 0
	d.broker.Cache.Live(func(broker.Scope, credential.Token) { n++ })
	return float64(n)
}

func (d *daemon) certificateExpiry() float64 {
	if d.pair == nil {
		return 0
	}
	return float64(d.pair.Expires().Unix())
}
