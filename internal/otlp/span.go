package otlp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// A Tracer makes spans; nil makes none.
type Tracer struct{ export *Exporter }

// NewTracer sends spans through an exporter that NewSpans made.
func NewTracer(e *Exporter) *Tracer {
	if e == nil {
		return nil
	}
	return &Tracer{e}
}

// NewSpans is the exporter of a tracer.
func NewSpans(url string, headers map[string][]string, s Service) *Exporter {
	return NewExporter(url, headers, batchSize, func(items []any) any {
		return map[string]any{"resourceSpans": []any{map[string]any{
			"resource":   s.resource(),
			"scopeSpans": []any{map[string]any{"scope": s.scope(), "spans": items}},
		}}}
	})
}

// The kinds of spans.
const (
	internalKind = 1
	serverKind   = 2
	clientKind   = 3
)

// A Span is one piece of work; nil takes everything and is nothing.
type Span struct {
	TraceID    string      `json:"traceId"`
	SpanID     string      `json:"spanId"`
	ParentID   string      `json:"parentSpanId,omitempty"`
	Name       string      `json:"name"`
	Kind       int         `json:"kind"`
	Start      string      `json:"startTimeUnixNano"`
	End        string      `json:"endTimeUnixNano"`
	Attributes []Attribute `json:"attributes,omitempty"`
	Links      []Link      `json:"links,omitempty"`
	Status     *status     `json:"status,omitempty"`

	export *Exporter
}

// A Link names a span of another trace.
type Link struct {
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
}

type status struct {
	Code    int    `json:"code"` // 2 is an error
	Message string `json:"message,omitempty"`
}

type spanKey struct{}

// Server begins the span of a request, which is a trace of its own: a caller
// does not decide which of our traces it is in. What it says of its own trace
// (traceparent, https://www.w3.org/TR/trace-context/) becomes a link.
func (t *Tracer) Server(ctx context.Context, name, traceparent string) (context.Context, *Span) {
	ctx, s := t.begin(ctx, name, serverKind)
	if link, ok := parseTraceparent(traceparent); ok && s != nil {
		s.Links = []Link{link}
	}
	return ctx, s
}

// Client begins the span of a call to another service, below that of ctx.
func (t *Tracer) Client(ctx context.Context, name string) (context.Context, *Span) {
	return t.begin(ctx, name, clientKind)
}

// Internal begins the span of work of our own, below that of ctx.
func (t *Tracer) Internal(ctx context.Context, name string) (context.Context, *Span) {
	return t.begin(ctx, name, internalKind)
}

func (t *Tracer) begin(ctx context.Context, name string, kind int) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	s := &Span{TraceID: randomID(16), SpanID: randomID(8), Name: name, Kind: kind, Start: nanos(time.Now()), export: t.export}
	if parent, ok := ctx.Value(spanKey{}).(*Span); ok && kind != serverKind {
		s.TraceID, s.ParentID = parent.TraceID, parent.SpanID
	}
	return context.WithValue(ctx, spanKey{}, s), s
}

// Set adds an attribute. It holds no secret.
func (s *Span) Set(key, text string) {
	if s != nil {
		s.Attributes = append(s.Attributes, Text(key, text))
	}
}

// Done ends the span. failed says why it went wrong; "" means that it did not.
func (s *Span) Done(failed string) {
	if s == nil {
		return
	}
	s.End = nanos(time.Now())
	if failed != "" {
		s.Status = &status{Code: 2, Message: failed}
	}
	s.export.Add(s)
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func randomID(n int) string {
	id := make([]byte, n)
	_, _ = rand.Read(id) // it ends the program before it fails
	return hex.EncodeToString(id)
}

// parseTraceparent reads VERSION-TRACE-SPAN-FLAGS. Version ff and ids of zeros
// are none.
func parseTraceparent(text string) (Link, bool) {
	parts := strings.Split(text, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || parts[0] == "00" && len(parts) != 4 {
		return Link{}, false
	}
	if !isID(parts[0], 2, true) || !isID(parts[1], 32, false) || !isID(parts[2], 16, false) || !isID(parts[3], 2, true) {
		return Link{}, false
	}
	return Link{parts[1], parts[2]}, true
}

func isID(text string, size int, mayBeZero bool) bool {
	return len(text) == size && strings.Trim(text, "0123456789abcdef") == "" && (mayBeZero || strings.Trim(text, "0") != "")
}

// A LogRecord is one line of a log.
type LogRecord struct {
	Time       string      `json:"timeUnixNano"`
	Severity   int         `json:"severityNumber"` // 9 is INFO, 13 is WARN
	Body       value       `json:"body"`
	Attributes []Attribute `json:"attributes,omitempty"`
}

// NewLogRecord is a record with a text.
func NewLogRecord(at time.Time, severity int, text string, attributes ...Attribute) LogRecord {
	return LogRecord{nanos(at), severity, value{text}, attributes}
}

// NewLogs is the exporter of log records.
func NewLogs(url string, headers map[string][]string, s Service) *Exporter {
	return NewExporter(url, headers, batchSize, func(items []any) any {
		return map[string]any{"resourceLogs": []any{map[string]any{
			"resource":  s.resource(),
			"scopeLogs": []any{map[string]any{"scope": s.scope(), "logRecords": items}},
		}}}
	})
}
