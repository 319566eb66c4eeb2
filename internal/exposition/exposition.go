// Package exposition serves the metrics of the refresher and of gatepass probe to
// Prometheus.
package exposition

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatepass/gatepass/internal/usererr"
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

// Handler serves the metrics of r in Prometheus's text format.
func Handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Seconds returns a time as Prometheus has it: Unix time in seconds, to the
// millisecond.
func Seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// Listen serves handler at address until stop is called. do says what to do if
// listening fails.
func Listen(ctx context.Context, address string, handler http.Handler, do string) (stop func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		if failed, ok := errors.AsType[*net.OpError](err); ok {
			err = failed.Err // the address is named already
		}
		return nil, usererr.Wrap("listen on "+address, err, do)
	}
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = s.Serve(l) }() // until the server is closed
	return func() { _ = s.Close() }, nil
}
