package serve

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
)

// Metrics has the broker's metrics. Make it with [NewMetrics].
type Metrics struct {
	registry *prometheus.Registry

	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	cached   prometheus.Counter
	mints    *prometheus.CounterVec
	minting  prometheus.Histogram
	pushes   *prometheus.CounterVec
	gateway  *gatewayMetrics

	// RefusedConnections and RefusedRequests count those beyond the limits, which were
	// closed or refused unread.
	RefusedConnections, RefusedRequests prometheus.Counter
	// Results of revoking what is blocked, and of deleting what has expired.
	Revoked, Deleted, ReconcilesFailed prometheus.Counter
	// Reloads counts attempts to read the configuration again.
	ReloadsFailed, Reloads prometheus.Counter
}

// A Gauge is a metric whose value is computed for each scrape.
type Gauge struct {
	Name, Help string
	IsTotal    bool // true for a counter
	Value      func() float64
}

const namespace = "gatepass_broker"

// buckets range from a cached answer to a slow GitHub, in seconds.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewMetrics returns the metrics of one broker.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "requests_total", Help: "Requests, by endpoint, class of status, reason of a refusal and how the caller proved itself.",
	}, []string{"endpoint", "status", "reason", "method"})
	m.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "request_seconds", Help: "How long requests took.", Buckets: buckets,
	}, []string{"endpoint"})
	m.mints = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "mints_total", Help: "Tokens that the broker requested from GitHub, by outcome.",
	}, []string{"outcome"})
	m.minting = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "mint_seconds", Help: "How long GitHub took to mint a token, the audit log included.", Buckets: buckets,
	})
	m.pushes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "refused_pushes_total", Help: "Refs of pushes that guards refused, as workspaces report, by the refused verb.",
	}, []string{"action"})
	m.registry.MustRegister(m.requests, m.took, m.mints, m.minting, m.pushes, buildInfo(version), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gateway = newGatewayMetrics(m.registry)
	for _, c := range []struct {
		to         *prometheus.Counter
		name, help string
	}{
		{&m.cached, "cache_hits_total", "Requests that were answered with a cached token."},
		{&m.RefusedConnections, "connections_refused_total", "Connections beyond the limit."},
		{&m.RefusedRequests, "requests_refused_total", "Requests beyond the limit of concurrent requests."},
		{&m.Revoked, "reconcile_revoked_total", "Tokens of blocks that were revoked after the operator's request."},
		{&m.Deleted, "reconcile_deleted_total", "Expired entries of the store that were deleted."},
		{&m.ReconcilesFailed, "reconcile_failures_total", "Rounds over blocks and expired entries that failed in part."},
		{&m.Reloads, "config_reloads_total", "Attempts to read the configuration again."},
		{&m.ReloadsFailed, "config_reload_failures_total", "Attempts after which the last good configuration was kept."},
	} {
		*c.to = prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: c.name, Help: c.help})
		m.registry.MustRegister(*c.to)
	}
	return m
}

func buildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Which broker this is; the value is 1.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
}

// Read adds metrics whose values are read at each scrape. Their names are without the
// common prefix.
func (m *Metrics) Read(readings ...Gauge) {
	for _, r := range readings {
		if r.IsTotal {
			m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: r.Name, Help: r.Help}, r.Value))
			continue
		}
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: r.Name, Help: r.Help}, r.Value))
	}
}

// Handler serves the metrics page for Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

var (
	reasons = []string{
		broker.ReasonNone, broker.ReasonHost, broker.ReasonIdentity, broker.ReasonReplay, broker.ReasonCopied, broker.ReasonRule, broker.ReasonBlocked, broker.ReasonRepository, broker.ReasonPermission,
		broker.ReasonRequest, broker.ReasonLimit, broker.ReasonGitHub, broker.ReasonAudit, broker.ReasonStore, broker.ReasonInternal,
	}
	methods = []string{"", "socket", "oidc", "aws", "mtls", "session", "token"}
)

// Observe counts an answer; see [broker.Config].
func (m *Metrics) Observe(o broker.Observation) {
	m.requests.WithLabelValues(o.Endpoint, fmt.Sprintf("%dxx", o.Status/100), known(reasons, o.Reason), known(methods, o.Method)).Inc()
	m.took.WithLabelValues(o.Endpoint).Observe(o.Took.Seconds())
	if o.Cached && o.Status == http.StatusOK {
		m.cached.Inc()
	}
}

// Pushed counts a ref of a refused push; see [broker.Config].
func (m *Metrics) Pushed(action string) {
	m.pushes.WithLabelValues(known(api.PushActions, action)).Inc()
}

// known returns value if it is in list, else "other", so that a label has few values.
func known(list []string, value string) string {
	if slices.Contains(list, value) {
		return value
	}
	return "other"
}

// Minted counts mints and measures their time.
func (m *Metrics) Minted(next broker.MintFunc) broker.MintFunc {
	return func(ctx context.Context, s broker.Scope) (mint.Minted, error) {
		begun := time.Now()
		minted, err := next(ctx, s)
		outcome := "minted"
		if err != nil {
			outcome = "failed"
		}
		m.mints.WithLabelValues(outcome).Inc()
		m.minting.Observe(time.Since(begun).Seconds())
		return minted, err
	}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// gauges returns the metrics whose values are read at each scrape.
func (d *daemon) gauges() []Gauge {
	rate := func(part func(mint.Rate) float64) func() float64 {
		return func() float64 {
			r, known := d.app.Rate()
			if !known {
				return -1
			}
			return part(r)
		}
	}
	return []Gauge{
		{Name: "ready", Help: "Whether all parts of /readyz are ready.", Value: func() float64 { return boolValue(d.probe.check(context.Background()).Ready) }},
		{Name: "tokens_live", Help: "Valid tokens in memory.", Value: d.tokensLive},
		{Name: "audit_head_seq", Help: "Number of the last line of the audit log.", Value: func() float64 { seq, _ := d.journal.Head(); return float64(seq) }},
		{Name: "audit_writable", Help: "Whether the audit log can be written.", Value: func() float64 { return boolValue(d.journal.Ready() == nil) }},
		{Name: "audit_copies_dropped_total", Help: "Copies of audit lines that were not sent.", IsTotal: true, Value: func() float64 { return float64(d.copies.Dropped()) }},
		{Name: "spans_dropped_total", Help: "Trace spans that were not sent.", IsTotal: true, Value: func() float64 { return float64(d.traces.Dropped()) }},
		{Name: "blocklist_readable", Help: "Whether the block list can be read; while it cannot, every request is refused.", Value: func() float64 { return boolValue(d.broker.Blocklist.Check(context.Background()) == nil) }},
		{Name: "blocklist_read_failures_total", Help: "Failed reads of the block list.", IsTotal: true, Value: func() float64 { return float64(d.broker.Blocklist.FailedReadings()) }},
		{Name: "config_generation", Help: "How many configurations were in force since the start.", Value: func() float64 { return float64(d.config.current.Load().number) }},
		{Name: "config_last_reload_success", Help: "Whether the configuration's files are in force.", Value: func() float64 { return boolValue(d.config.problem() == nil) }},
		{Name: "github_rate_limit", Help: "GitHub's hourly limit of requests; -1 before GitHub has said so.", Value: rate(func(r mint.Rate) float64 { return float64(r.Limit) })},
		{Name: "github_rate_remaining", Help: "How much of the limit is left; -1 before GitHub has said so.", Value: rate(d.app.leftOf)},
		{Name: "clock_ahead_seconds", Help: "How far this machine's clock is ahead of GitHub's; negative if it is behind.", Value: d.clockAhead},
		{Name: "certificate_expiry_seconds", Help: "When the certificate expires, in Unix time; 0 without a certificate.", Value: d.certificateExpiry},
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
