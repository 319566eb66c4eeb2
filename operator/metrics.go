package operator

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/operator/apps"
	"github.com/gatepass/gatepass/operator/tenant"
)

// prefix begins the names of gatepass's metrics. Each metric is also exported under
// github-token-manager's name for it.
const prefix = "gatepass_operator_"

// Metrics are what the operator counts. Make them with NewMetrics.
type Metrics struct {
	refreshes, requests, errors, secrets, revocations twice
	refreshSeconds, requestSeconds                    twiceObserved
	expiry                                            expiry
}

// NewMetrics returns metrics that are registered in in.
func NewMetrics(in prometheus.Registerer) *Metrics {
	m := &Metrics{
		refreshes:      counter(in, "token_refresh_total", "Token refreshes.", "controller", "result"),
		refreshSeconds: histogram(in, "token_refresh_duration_seconds", "Duration of token refreshes.", "controller", "operation"),
		requests:       counter(in, "github_api_requests_total", "Requests to GitHub for a token.", "controller", "result"),
		requestSeconds: histogram(in, "github_api_call_duration_seconds", "Duration of requests to GitHub for a token.", "controller", "result"),
		errors:         counter(in, "token_reconcile_errors_total", "Reconciles of tokens that failed.", "controller", "reason"),
		secrets:        counter(in, "kubernetes_secret_operations_total", "Secrets created, updated and deleted.", "operation", "result"),
		revocations:    counter(in, "token_revocations_total", "Tokens revoked.", "result"),
	}
	in.MustRegister(&m.expiry)
	return m
}

type (
	twice         [2]*prometheus.CounterVec
	twiceObserved [2]*prometheus.HistogramVec
)

func counter(in prometheus.Registerer, name, help string, labels ...string) (all twice) {
	for i, p := range []string{"", prefix} {
		all[i] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: p + name, Help: help}, labels)
		in.MustRegister(all[i])
	}
	return all
}

func histogram(in prometheus.Registerer, name, help string, labels ...string) (all twiceObserved) {
	for i, p := range []string{"", prefix} {
		all[i] = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: p + name, Help: help}, labels)
		in.MustRegister(all[i])
	}
	return all
}

func (t twice) add(labels ...string) {
	for _, c := range t {
		c.WithLabelValues(labels...).Inc()
	}
}

func (t twiceObserved) observe(seconds float64, labels ...string) {
	for _, h := range t {
		h.WithLabelValues(labels...).Observe(seconds)
	}
}

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "success"
}

// controllerName returns github-token-manager's name for the controller of a kind.
func controllerName(kind string) string {
	if kind == tenant.KindClusterToken {
		return "clustertoken"
	}
	return "token"
}

func (m *Metrics) minted(kind string, began time.Time, err error) {
	seconds := time.Since(began).Seconds()
	m.requests.add(controllerName(kind), result(err))
	m.requestSeconds.observe(seconds, controllerName(kind), result(err))
	if err != nil {
		m.refreshes.add(controllerName(kind), result(err))
	}
}

func (m *Metrics) refreshed(kind, operation string, took time.Duration) {
	m.refreshes.add(controllerName(kind), result(nil))
	m.refreshSeconds.observe(took.Seconds(), controllerName(kind), operation)
}

func (m *Metrics) secret(operation string, err error) { m.secrets.add(operation, result(err)) }

func (m *Metrics) revoked(err error) { m.revocations.add(result(err)) }

func (m *Metrics) failed(kind, reason string) { m.errors.add(controllerName(kind), reason) }

// expires records when the token of an object ends; the zero time removes the series.
func (m *Metrics) expires(key apps.Key, at time.Time) {
	m.expiry.mu.Lock()
	defer m.expiry.mu.Unlock()
	if at.IsZero() {
		delete(m.expiry.at, key)
		return
	}
	if m.expiry.at == nil {
		m.expiry.at = map[apps.Key]int64{}
	}
	m.expiry.at[key] = at.Unix()
}

// An expiry collects when tokens end, and how many there are. It makes the series at
// each scrape: a gauge for each of ten thousand objects would take 20 MB.
type expiry struct {
	mu sync.Mutex // guards at
	at map[apps.Key]int64
}

var expiryDescriptions, activeDescriptions = describeExpiry()

func describeExpiry() (ends, active [2]*prometheus.Desc) {
	for i, p := range []string{"", prefix} {
		ends[i] = prometheus.NewDesc(p+"token_expiry_timestamp_seconds", "When the token in the Secret expires, as a Unix time.", []string{"controller", "namespace", "name"}, nil)
		active[i] = prometheus.NewDesc(p+"tokens_active", "Objects whose Secret has a valid token.", []string{"controller"}, nil)
	}
	return ends, active
}

// Describe implements prometheus.Collector.
func (e *expiry) Describe(to chan<- *prometheus.Desc) {
	for i := range expiryDescriptions {
		to <- expiryDescriptions[i]
		to <- activeDescriptions[i]
	}
}

// Collect implements prometheus.Collector.
func (e *expiry) Collect(to chan<- prometheus.Metric) {
	e.mu.Lock()
	at := maps.Clone(e.at)
	e.mu.Unlock()
	active := map[string]int{}
	for key, ends := range at {
		active[controllerName(key.Kind)]++
		for _, d := range expiryDescriptions {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(ends), controllerName(key.Kind), key.Namespace, key.Name)
		}
	}
	for _, kind := range []string{tenant.KindToken, tenant.KindClusterToken} {
		for _, d := range activeDescriptions {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(active[controllerName(kind)]), controllerName(kind))
		}
	}
}
