package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdk "go.opentelemetry.io/otel/sdk/log"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/internal/version"
)

// Copies sends copies of the audit log's lines to the places in the configuration. The
// log itself is authoritative: copies may be dropped.
type Copies []*sink

// A sink is one place for copies.
type sink struct {
	queue    queue
	provider *sdk.LoggerProvider
	logger   log.Logger
}

// NewCopies returns the copies that a configures; nil if it configures none.
func NewCopies(a config.Audit) (all Copies, err error) {
	if a.CloudEvents != "" {
		e, err := newCloudEvents(a.CloudEvents)
		if err != nil {
			return nil, err
		}
		all = append(all, newSink(e, sdk.WithExportMaxBatchSize(1)))
	}
	if a.OTLP != "" {
		c, err := client(a.OTLP)
		if err != nil {
			return nil, err
		}
		e, err := otlploghttp.New(context.Background(), otlploghttp.WithEndpointURL(a.OTLP),
			otlploghttp.WithHTTPClient(c), otlploghttp.WithRetry(otlploghttp.RetryConfig{}))
		if err != nil {
			return nil, err
		}
		all = append(all, newSink(e))
	}
	return all, nil
}

func newSink(e sdk.Exporter, options ...sdk.BatchProcessorOption) *sink {
	s := new(sink)
	batches := sdk.NewBatchProcessor(recordExporter{e, &s.queue}, append(options, sdk.WithMaxQueueSize(queueSize))...)
	s.provider = sdk.NewLoggerProvider(sdk.WithResource(service()), sdk.WithProcessor(records{batches, &s.queue}),
		sdk.WithAttributeCountLimit(-1), sdk.WithAttributeValueLengthLimit(-1)) // copies must not be shortened
	s.logger = s.provider.Logger(program, log.WithInstrumentationVersion(version.String()))
	return s
}

// records limits the records that wait.
type records struct {
	sdk.Processor
	queue *queue
}

func (r records) OnEmit(ctx context.Context, record *sdk.Record) error {
	if !r.queue.enter() {
		return nil
	}
	return r.Processor.OnEmit(ctx, record)
}

type recordExporter struct {
	sdk.Exporter
	queue *queue
}

func (e recordExporter) Export(ctx context.Context, records []sdk.Record) error {
	e.queue.leave(len(records), e.Exporter.Export(ctx, records))
	return nil // the queue counts dropped records
}

// Send queues a copy of a line. It does not wait. It is for [audit.Log].
func (all Copies) Send(text []byte, r audit.Record) {
	if len(all) == 0 {
		return
	}
	record := newRecord(text, r)
	for _, s := range all {
		s.logger.Emit(context.Background(), record)
	}
}

// Dropped returns how many copies were not sent.
func (all Copies) Dropped() (n uint64) {
	for _, s := range all {
		n += s.queue.dropped.Load()
	}
	return n
}

// Close sends what is queued, to all places at once, until ctx ends.
func (all Copies) Close(ctx context.Context) {
	var ends sync.WaitGroup
	for _, s := range all {
		ends.Go(func() { _ = s.provider.Shutdown(ctx) }) // what is not sent by then is lost
	}
	ends.Wait()
}

// The record's attributes that a CloudEvent also has.
const (
	hashKey      = "gatepass.audit.hash"
	kindKey      = "gatepass.audit.kind"
	workspaceKey = "gatepass.workspace"
)

func newRecord(text []byte, r audit.Record) (record log.Record) {
	record.SetTimestamp(r.Time)
	record.SetSeverity(log.SeverityInfo)
	if r.Decision == broker.Refused {
		record.SetSeverity(log.SeverityWarn)
	}
	record.SetBody(attribute.StringValue(string(text)))
	record.AddAttributes(attribute.String("gatepass.audit.seq", strconv.FormatUint(r.Seq, 10)), attribute.String(hashKey, r.Hash), attribute.String(kindKey, r.Kind))
	for _, a := range []struct{ key, value string }{
		{workspaceKey, r.Workspace}, {"gatepass.decision", r.Decision}, {"gatepass.reason", r.Reason}, {"gatepass.repository", r.Repository},
	} {
		if a.value != "" {
			record.AddAttributes(attribute.String(a.key, a.value))
		}
	}
	return record
}

// cloudEvents sends each record in the structured form of CloudEvents 1.0
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
type cloudEvents struct {
	client  *http.Client
	address string
	source  string
}

func newCloudEvents(address string) (cloudEvents, error) {
	c, err := client(address)
	host, _ := os.Hostname() // an empty host is still a valid source
	return cloudEvents{c, address, "/" + program + "/" + host}, err
}

type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject,omitempty"`
	Time        time.Time       `json:"time"`
	ContentType string          `json:"datacontenttype"`
	Data        json.RawMessage `json:"data"` // the line
}

func (c cloudEvents) event(r sdk.Record) cloudEvent {
	values := map[string]string{}
	r.WalkAttributes(func(a attribute.KeyValue) bool {
		values[string(a.Key)] = a.Value.AsString()
		return true
	})
	return cloudEvent{
		SpecVersion: "1.0", ID: values[hashKey], Source: c.source, Type: "dev.gatepass.audit." + values[kindKey],
		Subject: values[workspaceKey], Time: r.Timestamp(), ContentType: "application/json", Data: json.RawMessage(r.Body().AsString()),
	}
}

// Export implements [sdk.Exporter].
func (c cloudEvents) Export(ctx context.Context, records []sdk.Record) error {
	var failed error
	for _, r := range records {
		failed = errors.Join(failed, c.send(ctx, c.event(r)))
	}
	return failed
}

func (c cloudEvents) send(ctx context.Context, event cloudEvent) error {
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	answer, err := c.client.Do(r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// Shutdown implements [sdk.Exporter].
func (cloudEvents) Shutdown(context.Context) error { return nil }

// ForceFlush implements [sdk.Exporter].
func (cloudEvents) ForceFlush(context.Context) error { return nil }
