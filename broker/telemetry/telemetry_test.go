package telemetry

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/mint"
)

// collector accepts what is sent; the first times it answers other statuses.
type collector struct {
	*httptest.Server
	mu     sync.Mutex // guards the rest
	fail   []int
	bodies [][]byte
	last   *http.Request
	posts  int
}

func newCollector(t *testing.T, fail ...int) *collector {
	c := &collector{fail: fail}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.posts++
		c.last = r
		if len(c.fail) > 0 {
			c.answer(w)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.bodies = append(c.bodies, body)
	}))
	t.Cleanup(c.Server.Close)
	return c
}

// away is the status of a collector that closes a connection without an answer.
const away = 0

// answer refuses a request. The caller holds mu.
func (c *collector) answer(w http.ResponseWriter) {
	status := c.fail[0]
	c.fail = c.fail[1:]
	if status == away {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(status)
}

func finish(t *testing.T, what interface{ Close(context.Context) }) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	what.Close(ctx)
}

// tracesTo returns Traces that are sent to a URL, by the standard variable.
func tracesTo(t *testing.T, address string) *Traces {
	t.Helper()
	all, err := NewTraces(func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": address}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func copiesTo(t *testing.T, a config.Audit) Copies {
	t.Helper()
	all, err := NewCopies(a)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func text(list []*common.KeyValue, key string) string {
	for _, a := range list {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

func TestSpans(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme%20inc, x-b=2")
	c := newCollector(t)
	all := tracesTo(t, c.URL+"/v1/traces?key=1")
	const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	mints := all.Mint(func(context.Context, broker.Scope) (mint.Minted, error) {
		return mint.Minted{}, errors.New("ghs_secret")
	})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{what}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = mints(r.Context(), broker.Scope{Repo: api.Repo{Owner: "acme", Name: "widgets"}})
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	r := httptest.NewRequest(http.MethodPost, "/v1/token", nil)
	r.Header.Set("Traceparent", "00-"+theirs+"-00f067aa0ba902b7-01")
	all.Handler(mux).ServeHTTP(httptest.NewRecorder(), r)
	finish(t, all)
	if len(c.bodies) != 1 || c.last.Header.Get("X-Tenant") != "acme inc" || c.last.Header.Get("X-B") != "2" || c.last.URL.String() != "/v1/traces?key=1" {
		t.Fatalf("the collector has %d requests, the last one is %v", len(c.bodies), c.last)
	}
	var sent traces.ExportTraceServiceRequest
	if err := proto.Unmarshal(c.bodies[0], &sent); err != nil || strings.Contains(sent.String(), "ghs_") {
		t.Fatalf("the collector has %v, %v", &sent, err)
	}
	spans := sent.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()
	child, parent := spans[0], spans[1]
	if string(child.GetTraceId()) != string(parent.GetTraceId()) || string(child.GetParentSpanId()) != string(parent.GetSpanId()) || len(parent.GetParentSpanId()) > 0 {
		t.Errorf("the spans are %v, want one below the other", spans)
	}
	if got := parent.GetLinks()[0].GetTraceId(); hex.EncodeToString(got) != theirs || hex.EncodeToString(parent.GetTraceId()) == theirs {
		t.Errorf("the span is of the trace %x with a link to %x, want one of ours with a link to %s", parent.GetTraceId(), got, theirs)
	}
	if parent.GetName() != "POST /v1/{what}" || child.GetName() != "mint" || parent.GetKind() != 2 || child.GetKind() != 3 || child.GetStatus().GetCode() != 2 || text(child.GetAttributes(), "gatepass.repository") != "acme/widgets" {
		t.Errorf("the spans are %v, want a request and a mint that failed", spans)
	}
	if got := text(sent.GetResourceSpans()[0].GetResource().GetAttributes(), "service.name"); got != program {
		t.Errorf("the service is %q", got)
	}
}

// A malformed traceparent makes no link.
func TestCallers(t *testing.T) {
	for text, want := range map[string]int{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":   1,
		"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x": 1,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x": 0,
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":   0,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":   0,
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01":   0,
		"": 0,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Traceparent", text)
		r.Header.Set("Tracestate", "a=b")
		if got := callers(r); len(got) != want || want == 1 && got[0].SpanContext.TraceState().Len() > 0 {
			t.Errorf("callers(%q) = %v, want %d without a state", text, got, want)
		}
	}
}

func TestTracesThatAreOff(t *testing.T) {
	var off *Traces
	next := http.NotFoundHandler()
	if got := off.Handler(next); got == nil || off.Dropped() != 0 {
		t.Errorf("Handler = %v, Dropped = %d", got, off.Dropped())
	}
	off.Close(t.Context())
	if all, err := NewTraces(func(string) string { return "" }); all != nil || err != nil {
		t.Errorf("NewTraces without a variable = %v, %v, want none", all, err)
	}
	Copies(nil).Send(nil, audit.Record{})
}

// record returns a line of the audit log about a refusal.
func record() audit.Record {
	return audit.Record{Seq: 7, Hash: "abc", Entry: broker.Entry{Time: time.Unix(1, 5).UTC(), Kind: "request", Workspace: "sb-1", Decision: broker.Refused}}
}

func TestCopiesAreTriedAgain(t *testing.T) {
	t.Setenv("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1")
	asLogs, asEvents := newCollector(t, 503, 429), newCollector(t, away)
	all := copiesTo(t, config.Audit{OTLP: asLogs.URL, CloudEvents: asEvents.URL})
	all.Send([]byte(`{"a": 1}`), record())
	finish(t, all)
	if len(asLogs.bodies) != 1 || len(asEvents.bodies) != 1 || all.Dropped() != 0 {
		t.Fatalf("%d and %d requests arrived, %d records were dropped", len(asLogs.bodies), len(asEvents.bodies), all.Dropped())
	}
	var sent logs.ExportLogsServiceRequest
	if err := proto.Unmarshal(asLogs.bodies[0], &sent); err != nil {
		t.Fatal(err)
	}
	r := sent.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords()[0]
	if r.GetBody().GetStringValue() != `{"a": 1}` || r.GetTimeUnixNano() != 1000000005 || r.GetSeverityNumber() != 13 || text(r.GetAttributes(), hashKey) != "abc" || text(r.GetAttributes(), "gatepass.audit.seq") != "7" {
		t.Errorf("the record is %v", r)
	}
	var event map[string]any
	if err := json.Unmarshal(asEvents.bodies[0], &event); err != nil || event["id"] != "abc" || event["type"] != "dev.gatepass.audit.request" || event["subject"] != "sb-1" || event["time"] != "1970-01-01T00:00:01.000000005Z" {
		t.Errorf("the event is %v, %v", event, err)
	}
	if got := asEvents.last.Header.Get("Content-Type"); got != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("the event is %s", got)
	}
}

func TestWhatIsDroppedIsCounted(t *testing.T) {
	for _, status := range []int{400, 307} { // a redirect would send the headers elsewhere
		c := newCollector(t, status, status)
		all := copiesTo(t, config.Audit{OTLP: c.URL, CloudEvents: c.URL})
		all.Send([]byte(`{}`), record())
		finish(t, all)
		if all.Dropped() != 2 || c.posts != 2 {
			t.Errorf("%d: %d dropped after %d requests, want 2 after 2", status, all.Dropped(), c.posts)
		}
	}
}

// A collector that hangs delays nothing, and what does not fit is counted.
func TestCollectorThatHangs(t *testing.T) {
	hang := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer slow.Close()
	defer close(hang)
	all, requests := copiesTo(t, config.Audit{OTLP: slow.URL}), tracesTo(t, slow.URL)
	handler := requests.Handler(http.NotFoundHandler())
	begun := time.Now()
	for range 10 * queueSize {
		all.Send([]byte(`{}`), record())
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	if took := time.Since(begun); took > 5*time.Second || all.Dropped() < 8*queueSize || requests.Dropped() < 8*queueSize {
		t.Errorf("adding to full queues took %v and dropped %d copies and %d spans", took, all.Dropped(), requests.Dropped())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	all.Close(ctx)
	requests.Close(ctx)
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
		got, err := endpoint(func(name string) string { return c.env[name] })
		if got != c.want || (err != nil) != c.isError {
			t.Errorf("endpoint(%v) = %q, %v, want %q", c.env, got, err, c.want)
		}
	}
}
