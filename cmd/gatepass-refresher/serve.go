package main

import (
	"context"
	"io"
	"net/http"

	"github.com/gatepass/gatepass/internal/exposition"
	"github.com/gatepass/gatepass/internal/usererr"
)

// handler serves health checks and metrics. It shows counts and reasons, and no data of
// a workspace.
func (m *monitor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "", m.alive()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		note, why := m.ready()
		answer(w, note, why)
	})
	mux.Handle("GET /metrics", exposition.Handler(m.metrics.registry))
	return mux
}

func answer(w http.ResponseWriter, note string, why error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	text := "ok"
	if note != "" {
		text += ": " + note
	}
	if why != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = usererr.Escape(why.Error())
	}
	_, _ = io.WriteString(w, text+"\n")
}

// serve answers at address until stop is called.
func (m *monitor) serve(ctx context.Context, address string) (stop func(), err error) {
	return exposition.Listen(ctx, address, m.handler(), "name another address with --listen, or none")
}
