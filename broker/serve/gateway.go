package serve

import (
	"context"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/issuing"
)

// openGateway makes the git gateway, if the configuration has one. It is called before
// the broker listens.
func (d *daemon) openGateway(ctx context.Context, f *config.File) error {
	if f.Gateway == nil {
		return nil
	}
	github := f.GitHubURL
	if github == "" {
		github = d.getenv(issuing.GitHubVariable)
	}
	github, err := issuing.GitHub(ctx, d.store, github)
	if err != nil {
		return err
	}
	upstream, err := access.NewUpstream(github)
	if err != nil {
		return err
	}
	upstream.Through(d.route)
	d.warnOfProxy(f)
	known := &bots{apps: d.app, upstream: upstream, log: d.log}
	shared := &access.Access{Broker: d.broker, Sessions: &identity.GatewaySessions{Keys: d.config.known.Keys}, Upstream: upstream, Author: known.author}
	d.gateway = gateway.New(shared, d.gatewaySettings, rest.Options{Settings: d.apiSettings, Bot: known.anyLogin})
	d.gateway.Done = d.metrics.Transferred
	d.broker.Extra[api.SessionPath] = shared.SessionEndpoint()
	d.metrics.Read(Gauge{Name: "gateway_transfers", Help: "Git transfers that are running.", Value: func() float64 { return float64(d.gateway.Running()) }})
	return nil
}

// gatewaySettings returns the gateway's settings in force.
func (d *daemon) gatewaySettings() gateway.Settings {
	g := d.gatewayInForce()
	return gateway.Settings{MaxPack: int64(g.MaxPack), IdleTimeout: g.IdleTimeout, Transfers: g.Transfers, Rate: int64(g.Rate)}
}

func (d *daemon) apiSettings() rest.Settings {
	g := d.gatewayInForce()
	return rest.Settings{PerHour: g.APIRequests, Storage: g.StorageHosts}
}

// gatewayInForce returns the gateway's configuration. If a reload removed it, the
// defaults apply until the restart that removes the gateway.
func (d *daemon) gatewayInForce() *config.Gateway {
	if g := d.config.file().Gateway; g != nil {
		return g
	}
	return config.DefaultGateway()
}

// withGateway serves git requests, and passes others to next. It is outside the
// ServeMux, which would redirect paths that it cleans. Its transfers do not count as
// short requests.
func (d *daemon) withGateway(next http.Handler) http.Handler {
	if d.gateway == nil {
		return next
	}
	return d.gateway.Handler(next)
}

func (d *daemon) watchTransfers(ctx context.Context) {
	if d.gateway != nil {
		d.gateway.Watch(ctx)
	}
}

// gatewayMetrics counts what the gateway forwards.
type gatewayMetrics struct {
	transfers *prometheus.CounterVec
	took      *prometheus.HistogramVec
	refs      *prometheus.CounterVec
	checks    *prometheus.CounterVec
	bytes     *prometheus.CounterVec
}

func newGatewayMetrics(registry prometheus.Registerer) *gatewayMetrics {
	m := &gatewayMetrics{
		transfers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "gateway_requests_total", Help: "Git requests, by service, class of status and reason of a refusal.",
		}, []string{"service", "status", "reason"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "gateway_request_seconds", Help: "How long git requests took, packs included.", Buckets: append(buckets, 60, 300, 1800),
		}, []string{"service"}),
		refs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "gateway_outcomes_total", Help: "Refs of pushes, and fetches, by outcome.",
		}, []string{"service", "outcome"}),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "gateway_github_refusals_total", Help: "Refs of pushes that GitHub refused, by GitHub's check: workflow, ruleset, secret, size or other.",
		}, []string{"check"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "gateway_bytes_total", Help: "Bytes that came from workspaces (in) and went to them (out).",
		}, []string{"service", "direction"}),
	}
	registry.MustRegister(m.transfers, m.took, m.refs, m.checks, m.bytes)
	return m
}

var (
	gitServices  = []string{"git-upload-pack", "git-receive-pack", "lfs", ""}
	githubChecks = []string{"workflow", "ruleset", "secret", "size"}
	outcomes     = []string{broker.OutcomeOK, broker.OutcomeRefused, broker.OutcomeFailed, broker.OutcomeUnknown}
)

// Transferred counts a gateway request; see [gateway.Gateway].
func (m *Metrics) Transferred(t gateway.Transfer) {
	service := known(gitServices, t.Service)
	m.gateway.transfers.WithLabelValues(service, fmt.Sprintf("%dxx", t.Status/100), known(reasons, t.Reason)).Inc()
	m.gateway.took.WithLabelValues(service).Observe(t.Took.Seconds())
	for _, outcome := range t.Outcomes {
		m.gateway.refs.WithLabelValues(service, known(outcomes, outcome)).Inc()
	}
	for _, check := range t.Checks {
		m.gateway.checks.WithLabelValues(known(githubChecks, check)).Inc()
	}
	m.gateway.bytes.WithLabelValues(service, "in").Add(float64(t.In))
	m.gateway.bytes.WithLabelValues(service, "out").Add(float64(t.Out))
}
