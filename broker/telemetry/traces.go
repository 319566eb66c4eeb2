package telemetry

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/version"
	"github.com/gatepass/gatepass/mint"
)

// Traces makes spans of requests and of the mints they cause; nil makes none. No span
// contains a secret.
type Traces struct {
	queue    queue
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// NewTraces returns Traces that sends spans where the standard variables say; nil if
// they are not set.
func NewTraces(getenv func(string) string) (*Traces, error) {
	address, err := endpoint(getenv)
	if address == "" {
		return nil, err
	}
	c, err := client(address)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(address),
		otlptracehttp.WithHTTPClient(c), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err != nil {
		return nil, err
	}
	t := new(Traces)
	batches := sdk.NewBatchSpanProcessor(spanExporter{exporter, &t.queue}, sdk.WithMaxQueueSize(queueSize))
	t.provider = sdk.NewTracerProvider(sdk.WithResource(service()), sdk.WithSpanProcessor(spans{batches, &t.queue}))
	t.tracer = t.provider.Tracer(program, trace.WithInstrumentationVersion(version.String()))
	return t, nil
}

// spans limits the spans that wait.
type spans struct {
	sdk.SpanProcessor
	queue *queue
}

func (s spans) OnEnd(span sdk.ReadOnlySpan) {
	if s.queue.enter() {
		s.SpanProcessor.OnEnd(span)
	}
}

type spanExporter struct {
	sdk.SpanExporter
	queue *queue
}

func (e spanExporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	e.queue.leave(len(spans), e.SpanExporter.ExportSpans(ctx, spans))
	return nil // the queue counts dropped records
}

// Dropped returns how many spans were not sent.
func (t *Traces) Dropped() uint64 {
	if t == nil {
		return 0
	}
	return t.queue.dropped.Load()
}

// Close sends what is queued, until ctx ends.
func (t *Traces) Close(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx) // what is not sent by then is lost
	}
}

// spanKey is the context key of a request's span. It is not OpenTelemetry's own key:
// then libraries would find the span and add spans with their URLs.
type spanKey struct{}

// Handler makes a span of each request. Its name is the route, not the path.
//
// Each span starts a new trace, so that callers cannot choose which of our traces it
// joins. The caller's own trace (traceparent, https://www.w3.org/TR/trace-context/)
// becomes a link.
func (t *Traces) Handler(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, span := t.tracer.Start(r.Context(), "HTTP", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer), trace.WithLinks(callers(r)...))
		defer span.End()
		seen := &watched{ResponseWriter: w, status: http.StatusOK}
		r = r.WithContext(context.WithValue(r.Context(), spanKey{}, span))
		next.ServeHTTP(seen, r)
		if r.Pattern != "" {
			span.SetName(r.Pattern)
		}
		span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.Int("http.response.status_code", seen.status),
			attribute.String("gatepass.request_id", w.Header().Get("X-Request-Id")))
		if seen.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(seen.status))
		}
	})
}

// callers returns a link to the span in the request's traceparent header.
func callers(r *http.Request) []trace.Link {
	text := propagation.MapCarrier{"traceparent": r.Header.Get("Traceparent")}
	theirs := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), text))
	if !theirs.IsValid() {
		return nil
	}
	return []trace.Link{{SpanContext: theirs}}
}

// watched records the status.
type watched struct {
	http.ResponseWriter
	status int
}

func (w *watched) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] work.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Mint makes a span of each mint, as a child of the request's span.
func (t *Traces) Mint(next broker.MintFunc) broker.MintFunc {
	if t == nil {
		return next
	}
	return func(ctx context.Context, s broker.Scope) (mint.Minted, error) {
		request, _ := ctx.Value(spanKey{}).(trace.Span)
		_, span := t.tracer.Start(trace.ContextWithSpan(ctx, request), "mint", trace.WithSpanKind(trace.SpanKindClient))
		defer span.End()
		span.SetAttributes(attribute.String("gatepass.repository", s.Repo.String()))
		m, err := next(ctx, s)
		if err != nil {
			span.SetStatus(codes.Error, "GitHub or the audit log failed")
			return m, err
		}
		span.SetAttributes(attribute.String("gatepass.hashed_token", m.Token.Hash()))
		return m, nil
	}
}
