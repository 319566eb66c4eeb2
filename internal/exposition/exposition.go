// Package exposition shows the metrics of the refresher and of gatepass probe to
// Prometheus.
package exposition

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatepass/gatepass/internal/version"
)

// New returns a registry with gatepass_build_info.
func New() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatepass_build_info", Help: "Which gatepass this is.",
		ConstLabels: prometheus.Labels{"version": version.String(), "goversion": runtime.Version()},
	}, func() float64 { return 1 }))
	return r
}

// Handler answers with what is registered, in Prometheus's text format.
func Handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Seconds is Unix time as Prometheus has it, to the millisecond.
func Seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
