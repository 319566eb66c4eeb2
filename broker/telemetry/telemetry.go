// Package telemetry sends traces of the broker, and copies of its audit log, to
// collectors. It is the one package that links the OpenTelemetry SDK.
//
// What is sent is best effort. Adding to a queue never waits: each queue holds 2048
// entries, and what does not fit is dropped. The SDK does not say how much it drops,
// so the bound is kept, and drops are counted, here.
//
// Sending is ours as well, below the SDK's exporters: a collector that is being
// restarted is tried again, which the SDK does not do for a connection that is
// refused; a redirect is not followed, since headers hold secrets; and the URL is used
// as it was written, where the SDK leaves its query out.
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

// endpoint is where traces go by the standard variables: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
// as it is, else OTEL_EXPORTER_OTLP_ENDPOINT with /v1/traces behind it
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter/), and "" without both.
// The SDK would take what is no URL for http://localhost:4318.
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
		return "", errors.New(base + "ENDPOINT is no URL; write http://HOST:4318")
	}
	return address, nil
}

// service names this program, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES do.
func service() *resource.Resource {
	r, _ := resource.New(context.Background(), // what of the variables cannot be read is left out
		resource.WithAttributes(attribute.String("service.name", program), attribute.String("service.version", version.String())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	return r
}

// A queue bounds what waits to be sent to one collector, and counts what is dropped.
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

// leave takes entries out that were sent, or that could not be.
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

// RoundTrip returns an error for every answer but a good one.
func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), httpclient.MaxWait)
	defer cancel()
	defer r.Body.Close() // each attempt has another
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

// post reads the whole answer: the request's context ends when it returns.
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
		return nil, &httpclient.TransientError{Err: errors.New("the collector answers " + answer.Status), After: httpclient.RetryAfter(answer.Header)}
	case status < http.StatusOK || status >= http.StatusMultipleChoices:
		return nil, fmt.Errorf("the collector answers %s", answer.Status)
	}
	return answer, err
}
