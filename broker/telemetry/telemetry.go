// Package telemetry sends traces of the broker, and copies of its audit log, to
// collectors. It is the one package that links the OpenTelemetry SDK.
//
// Sending is best effort. Adding to a queue never waits: each queue holds 2048 entries,
// and drops those that do not fit. The SDK does not report how many it drops, so this
// package enforces the limit and counts.
//
// The transport below the SDK's exporters is also our own. It retries while a collector
// restarts; the SDK does not retry refused connections. It follows no redirects,
// because headers contain secrets. It uses the URL as written; the SDK drops its query.
package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/version"
)

const (
	program   = "gatepass-broker"
	queueSize = 2048
	maxAnswer = 64 << 10 // bytes
)

// endpoint returns where traces go, by the standard variables:
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT unchanged, else OTEL_EXPORTER_OTLP_ENDPOINT
// followed by /v1/traces (https://opentelemetry.io/docs/specs/otel/protocol/exporter/),
// and "" without both. It refuses a malformed URL, because the SDK would use
// http://localhost:4318 instead.
func endpoint(getenv func(string) string) (string, error) {
	const base = "OTEL_EXPORTER_OTLP_"
	address := getenv(base + "TRACES_ENDPOINT")
	if address == "" && getenv(base+"ENDPOINT") != "" {
		address = strings.TrimSuffix(getenv(base+"ENDPOINT"), "/") + "/v1/traces"
	}
	if address == "" {
		return "", nil
	}
	if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New(base + "ENDPOINT must be a URL; write http://HOST:4318")
	}
	return address, nil
}

// service returns the resource that names this program, unless OTEL_SERVICE_NAME or
// OTEL_RESOURCE_ATTRIBUTES do.
func service() *resource.Resource {
	r, _ := resource.New(context.Background(), // unreadable variables are ignored
		resource.WithAttributes(attribute.String("service.name", program), attribute.String("service.version", version.String())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	return r
}

// A queue limits what waits to be sent to one collector, and counts what is dropped.
type queue struct {
	waiting atomic.Int64
	dropped atomic.Uint64
}

// enter reports whether there is room for another entry.
func (q *queue) enter() bool {
	if q.waiting.Add(1) <= queueSize {
		return true
	}
	q.waiting.Add(-1)
	q.dropped.Add(1)
	return false
}

// leave removes entries that were sent; with err they count as dropped.
func (q *queue) leave(entries int, err error) {
	q.waiting.Add(-int64(entries))
	if err != nil {
		q.dropped.Add(uint64(entries))
	}
}

// client returns a client whose requests all go to address.
func client(address string) (*http.Client, error) {
	u, err := url.Parse(address)
	return &http.Client{Transport: sender{u}}, err
}

// A sender is a transport that posts to one URL until a collector takes it.
type sender struct{ to *url.URL }

// RoundTrip posts until the collector accepts. It returns an error for every answer
// that is not 2xx.
func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), httpclient.MaxWait)
	defer cancel()
	defer r.Body.Close() // each attempt has its own body
	return httpclient.Retry(ctx, func(ctx context.Context) (*http.Response, error) {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, httpclient.AttemptWait)
		defer cancel()
		again := r.Clone(ctx)
		again.URL, again.Host, again.Body = s.to, s.to.Host, body
		return post(again)
	})
}

// post reads the whole answer, because the request's context ends when it returns.
func post(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, &httpclient.TransientError{Err: err}
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	err = errors.Join(err, answer.Body.Close())
	answer.Body = io.NopCloser(bytes.NewReader(text))
	switch status := answer.StatusCode; {
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return nil, &httpclient.TransientError{Err: errors.New("the collector answered " + answer.Status), After: httpclient.RetryAfter(answer.Header)}
	case status < http.StatusOK || status >= http.StatusMultipleChoices:
		return nil, fmt.Errorf("the collector answered %s", answer.Status)
	}
	return answer, err
}
