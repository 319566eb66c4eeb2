// Package otlp sends spans and log records to an OpenTelemetry collector, in the
// JSON form of OTLP over HTTP
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
//
// It is the little that the broker needs: spans with texts, and log records. The
// exporters of the OpenTelemetry project bring an SDK, Protocol Buffers and gRPC
// with them, 7.7 MB where those are not linked anyway, and decide about retries
// and queues by themselves.
//
// What is sent is best effort: the queue is bounded, nobody waits for it, and
// what does not fit is dropped and counted.
package otlp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	queueSize = 2048
	batchSize = 512
	batchWait = time.Second
	sendWait  = 10 * time.Second
	attempts  = 3
)

// An Exporter sends items of one kind to one URL. Make it with NewExporter; nil
// drops everything.
type Exporter struct {
	url     string
	headers http.Header
	size    int // of a batch
	client  *http.Client
	body    func(items []any) any // what a request says

	queue   chan any
	dropped atomic.Uint64
	ended   chan struct{}
	once    sync.Once
	stop    chan struct{}
}

// NewExporter sends items, in batches of up to size that body makes a request of,
// until it is closed.
func NewExporter(url string, headers http.Header, size int, body func(items []any) any) *Exporter {
	e := &Exporter{
		url: url, headers: headers, size: size, body: body,
		client: &http.Client{Timeout: sendWait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		queue:  make(chan any, queueSize), ended: make(chan struct{}), stop: make(chan struct{}),
	}
	go e.run()
	return e
}

// Add queues an item, or drops it. It does not wait.
func (e *Exporter) Add(item any) {
	if e == nil {
		return
	}
	select {
	case e.queue <- item:
	default:
		e.dropped.Add(1)
	}
}

// Dropped is how many items were not sent.
func (e *Exporter) Dropped() uint64 {
	if e == nil {
		return 0
	}
	return e.dropped.Load()
}

// Close sends what is queued, for as long as ctx lasts.
func (e *Exporter) Close(ctx context.Context) {
	if e == nil {
		return
	}
	e.once.Do(func() { close(e.stop) })
	select {
	case <-e.ended:
	case <-ctx.Done():
	}
}

func (e *Exporter) run() {
	defer close(e.ended)
	for {
		select {
		case first := <-e.queue:
			e.send(e.batch(first))
		case <-e.stop:
			for len(e.queue) > 0 {
				e.send(e.batch(<-e.queue))
			}
			return
		}
	}
}

// batch gathers what comes within a moment.
func (e *Exporter) batch(first any) []any {
	items := []any{first}
	wait := time.NewTimer(batchWait)
	defer wait.Stop()
	for len(items) < e.size {
		select {
		case item := <-e.queue:
			items = append(items, item)
			continue
		case <-wait.C:
		case <-e.stop:
			for len(e.queue) > 0 && len(items) < e.size {
				items = append(items, <-e.queue)
			}
		}
		break
	}
	return items
}

// send tries a few times, and then drops the batch.
func (e *Exporter) send(items []any) {
	body, err := json.Marshal(e.body(items))
	for i := 0; err == nil && i < attempts; i++ {
		if i > 0 {
			select {
			case <-time.After(time.Duration(i) * batchWait):
			case <-e.stop:
			}
		}
		var retry bool
		if retry, err = e.post(body); err == nil {
			return
		}
		if retry {
			err = nil
		} else {
			break
		}
	}
	e.dropped.Add(uint64(len(items)))
}

// post reports whether another attempt may help.
func (e *Exporter) post(body []byte) (retry bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), sendWait)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	for name, values := range e.headers {
		r.Header[name] = values
	}
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := e.client.Do(r)
	if err != nil {
		return true, err
	}
	_, readErr := io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	err = errors.Join(readErr, answer.Body.Close())
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		err = errors.Join(err, fmt.Errorf("it answers %d", answer.StatusCode))
	}
	return answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= 500, err
}

// An Attribute is one of OTLP's key-value pairs.
type Attribute struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

type value struct {
	String string `json:"stringValue"`
}

// Text is an attribute that is a text.
func Text(key, text string) Attribute { return Attribute{key, value{text}} }

// Service names the program that sends.
type Service struct{ Name, Version string }

func (s Service) resource() any {
	return map[string]any{"attributes": []Attribute{Text("service.name", s.Name), Text("service.version", s.Version)}}
}

func (s Service) scope() any { return map[string]any{"name": s.Name, "version": s.Version} }

// Endpoint reads the standard variables of a signal: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
// as it is, else OTEL_EXPORTER_OTLP_ENDPOINT with /v1/traces behind it
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter/). The URL is empty
// where neither is set. Headers are those of OTEL_EXPORTER_OTLP_HEADERS.
func Endpoint(getenv func(string) string, signal string) (address string, headers http.Header, err error) {
	const base = "OTEL_EXPORTER_OTLP_"
	address = getenv(base + strings.ToUpper(signal) + "_ENDPOINT")
	if address == "" && getenv(base+"ENDPOINT") != "" {
		address = strings.TrimSuffix(getenv(base+"ENDPOINT"), "/") + "/v1/" + signal
	}
	if address == "" {
		return "", nil, nil
	}
	if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", nil, errors.New(base + "ENDPOINT is no URL; write http://HOST:4318")
	}
	headers = http.Header{}
	for pair := range strings.SplitSeq(getenv(base+"HEADERS"), ",") {
		name, text, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if text, err := url.PathUnescape(text); ok && err == nil {
			headers.Set(name, text)
		}
	}
	return address, headers, nil
}
