package serve

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/otlp"
	"github.com/gatepass/gatepass/mint"
)

// traced makes a span of each request. Its name is the route's, not the path's.
func traced(t *otlp.Tracer, next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := t.Server(r.Context(), "HTTP", r.Header.Get("Traceparent"))
		seen := &watched{ResponseWriter: w, status: http.StatusOK}
		r = r.WithContext(ctx)
		next.ServeHTTP(seen, r)
		if r.Pattern != "" {
			span.Name = r.Pattern
		}
		span.Set("http.request.method", r.Method)
		span.Set("http.response.status_code", strconv.Itoa(seen.status))
		span.Set("gatepass.request_id", w.Header().Get("X-Request-Id"))
		failed := ""
		if seen.status >= http.StatusInternalServerError {
			failed = http.StatusText(seen.status)
		}
		span.Done(failed)
	})
}

// watched remembers the status.
type watched struct {
	http.ResponseWriter
	status int
}

func (w *watched) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// tracedMint makes a span of each mint, below the request that caused it.
func tracedMint(t *otlp.Tracer, next broker.MintFunc) broker.MintFunc {
	return func(ctx context.Context, s broker.Scope) (mint.Minted, error) {
		ctx, span := t.Client(ctx, "mint")
		span.Set("gatepass.repository", s.Owner+"/"+s.Name)
		m, err := next(ctx, s)
		if err != nil {
			span.Done("GitHub or the audit log did not do it")
			return m, err
		}
		span.Set("gatepass.hashed_token", m.Token.Hash())
		span.Done("")
		return m, nil
	}
}
