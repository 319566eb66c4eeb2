package otlp

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// collector takes what is sent, and fails the first times.
type collector struct {
	*httptest.Server
	mu     sync.Mutex // guards the rest
	fail   []int
	bodies []map[string]any
	header http.Header
	posts  int
}

func newCollector(t *testing.T, fail ...int) *collector {
	c := &collector{fail: fail}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.posts++
		c.header = r.Header
		if len(c.fail) > 0 {
			status := c.fail[0]
			c.fail = c.fail[1:]
			w.WriteHeader(status)
			return
		}
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		c.bodies = append(c.bodies, body)
	}))
	t.Cleanup(c.Server.Close)
	return c
}

// in goes down objects by key, and into the first of each list.
func in(t *testing.T, v any, keys ...string) any {
	t.Helper()
	for _, key := range keys {
		object, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("%v has no %s", v, key)
		}
		v = object[key]
		if list, ok := v.([]any); ok && key != "spans" && key != "logRecords" {
			v = list[0]
		}
	}
	return v
}

func finish(t *testing.T, e *Exporter) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.Close(ctx)
}

func TestSpans(t *testing.T) {
	c := newCollector(t)
	e := NewSpans(c.URL+"/v1/traces", http.Header{"X-Tenant": {"acme"}}, Service{"broker", "v1"})
	tracer := NewTracer(e)
	const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	ctx, request := tracer.Server(t.Context(), "POST /v1/token", "00-"+theirs+"-00f067aa0ba902b7-01")
	_, mint := tracer.Client(ctx, "mint")
	mint.Done("GitHub is away")
	request.Set("http.response.status_code", "503")
	request.Done("")
	finish(t, e)
	if len(c.bodies) != 1 || c.header.Get("X-Tenant") != "acme" || c.header.Get("Content-Type") != "application/json" {
		t.Fatalf("the collector has %v with %v", c.bodies, c.header)
	}
	spans := in(t, c.bodies[0], "resourceSpans", "scopeSpans", "spans").([]any)
	child, parent := spans[0].(map[string]any), spans[1].(map[string]any)
	if child["traceId"] != parent["traceId"] || child["parentSpanId"] != parent["spanId"] || parent["parentSpanId"] != nil || parent["traceId"] == theirs {
		t.Errorf("the spans are %v, want one below the other in a trace of ours", spans)
	}
	if in(t, parent, "links", "traceId") != theirs || in(t, child, "status", "message") != "GitHub is away" || parent["kind"] != 2.0 {
		t.Errorf("the spans are %v, want a link and a failure", spans)
	}
	if in(t, c.bodies[0], "resourceSpans", "resource", "attributes", "value", "stringValue") != "broker" {
		t.Errorf("the resource is %v", in(t, c.bodies[0], "resourceSpans", "resource"))
	}
}

func TestTracerThatIsOff(t *testing.T) {
	tracer := NewTracer(nil)
	ctx, s := tracer.Server(t.Context(), "x", "")
	s.Set("a", "b")
	s.Done("")
	if ctx != t.Context() {
		t.Error("a tracer that is off changes the context")
	}
}

func TestLogsAreTriedAgain(t *testing.T) {
	c := newCollector(t, 503, 429)
	e := NewLogs(c.URL, nil, Service{"broker", "v1"})
	e.Add(NewLogRecord(time.Unix(1, 5), 9, "a line", Text("kind", "request")))
	finish(t, e)
	if len(c.bodies) != 1 || e.Dropped() != 0 {
		t.Fatalf("%d requests arrived, %d records were dropped", len(c.bodies), e.Dropped())
	}
	records := in(t, c.bodies[0], "resourceLogs", "scopeLogs", "logRecords").([]any)
	if r := records[0]; in(t, r, "body", "stringValue") != "a line" || in(t, r, "timeUnixNano") != "1000000005" {
		t.Errorf("the record is %v", r)
	}
}

func TestWhatIsDroppedIsCounted(t *testing.T) {
	c := newCollector(t, 400)
	e := NewLogs(c.URL, nil, Service{})
	e.Add(1)
	finish(t, e)
	if e.Dropped() != 1 || c.posts != 1 {
		t.Errorf("a refusal: %d dropped after %d requests, want 1 after 1", e.Dropped(), c.posts)
	}
	hang := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer slow.Close()
	defer close(hang)
	e = NewLogs(slow.URL, nil, Service{})
	begun := time.Now()
	for range 10 * queueSize {
		e.Add(1)
	}
	if took := time.Since(begun); took > 5*time.Second || e.Dropped() < 8*queueSize {
		t.Errorf("adding to a full queue took %v and dropped %d", took, e.Dropped())
	}
}

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		env     map[string]string
		want    string
		isError bool
	}{
		{nil, "", false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces", false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/x"}, "https://t/x", false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"}, "", true},
	} {
		got, _, err := Endpoint(func(name string) string { return c.env[name] }, "traces")
		if got != c.want || (err != nil) != c.isError {
			t.Errorf("Endpoint(%v) = %q, %v, want %q", c.env, got, err, c.want)
		}
	}
	_, h, _ := Endpoint(func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x, b=2"}[name]
	}, "traces")
	if h.Get("Authorization") != "Bearer x" || h.Get("b") != "2" {
		t.Errorf("the headers are %v", h)
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("ff-00000000000000000000000000000000-0000000000000000-00")
	f.Fuzz(func(t *testing.T, text string) {
		if link, ok := parseTraceparent(text); ok && (len(link.TraceID) != 32 || len(link.SpanID) != 16) {
			t.Errorf("parseTraceparent(%q) = %+v", text, link)
		}
	})
}
