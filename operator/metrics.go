package operator

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/operator/tenant"
)

// prefix begins the names of gatepass's metrics. Each is there without it as well, under
// the name that github-token-manager gave it.
const prefix = "gatepass_operator_"

// Metrics are what the operator counts. Make them with NewMetrics.
type Metrics struct {
	refreshes, requests, errors, secrets, revocations twice
	refreshSeconds, requestSeconds                    twiceObserved
	expiry, active                                    twiceSet
}

// NewMetrics registers the metrics.
func NewMetrics(in prometheus.Registerer) *Metrics {
	return &Metrics{
		refreshes:      counter(in, "token_refresh_total", "Token refreshes.", "controller", "result"),
		refreshSeconds: histogram(in, "token_refresh_duration_seconds", "Duration of token refreshes.", "controller", "operation"),
		requests:       counter(in, "github_api_requests_total", "Requests to GitHub for a token.", "controller", "result"),
		requestSeconds: histogram(in, "github_api_call_duration_seconds", "Duration of requests to GitHub for a token.", "controller", "result"),
		errors:         counter(in, "token_reconcile_errors_total", "Reconciles of tokens that failed.", "controller", "reason"),
		secrets:        counter(in, "kubernetes_secret_operations_total", "Secrets created, updated and deleted.", "operation", "result"),
		revocations:    counter(in, "token_revocations_total", "Tokens revoked.", "result"),
		expiry:         gauge(in, "token_expiry_timestamp_seconds", "When the token in the Secret ends, as a Unix time.", "controller", "namespace", "name"),
		active:         gauge(in, "tokens_active", "Objects whose Secret holds a token that works.", "controller"),
	}
}

type (
	twice         [2]*prometheus.CounterVec
	twiceObserved [2]*prometheus.HistogramVec
	twiceSet      [2]*prometheus.GaugeVec
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

func gauge(in prometheus.Registerer, name, help string, labels ...string) (all twiceSet) {
	for i, p := range []string{"", prefix} {
		all[i] = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: p + name, Help: help}, labels)
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

func (t twiceSet) set(value float64, labels ...string) {
	for _, g := range t {
		g.WithLabelValues(labels...).Set(value)
	}
}

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "success"
}

// controllerName is what the model system calls the controller of a kind.
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

// expires says when the token of an object ends; the zero time takes the series away.
func (m *Metrics) expires(kind, namespace, name string, at time.Time) {
	for _, g := range m.expiry {
		if at.IsZero() {
			g.DeleteLabelValues(controllerName(kind), namespace, name)
			continue
		}
		g.WithLabelValues(controllerName(kind), namespace, name).Set(float64(at.Unix()))
	}
}
