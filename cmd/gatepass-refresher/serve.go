package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/internal/oneline"
)

// handler answers who looks after this program. It shows counts and reasons, and
// nothing of a workspace.
func (m *monitor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, m.alive()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, m.ready()) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		m.page().Serve(w)
	})
	return mux
}

func answer(w http.ResponseWriter, why error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	text := "ok"
	if why != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = oneline.Escape(why.Error())
	}
	_, _ = io.WriteString(w, text+"\n")
}

// serve answers at that address until stop is called.
func (m *monitor) serve(ctx context.Context, address string) (stop func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		if failed, ok := errors.AsType[*net.OpError](err); ok {
			err = failed.Err // the address is named already
		}
		return nil, oneline.Wrap("listen on "+address, err, "name another address with --listen, or none")
	}
	s := &http.Server{
		Handler: m.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = s.Serve(l) }() // until it is closed
	return func() { _ = s.Close() }, nil
}
