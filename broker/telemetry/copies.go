package telemetry

import (
	"context"
	"strconv"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdk "go.opentelemetry.io/otel/sdk/log"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/internal/version"
)

// Copies are of the audit log's lines, sent to each place that the configuration names.
// The log itself stays the truth: copies may be dropped.
type Copies []*sink

// A sink is one place.
type sink struct {
	queue    queue
	provider *sdk.LoggerProvider
	logger   log.Logger
}

// NewCopies returns nil where no copies are wanted.
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
		sdk.WithAttributeCountLimit(-1), sdk.WithAttributeValueLengthLimit(-1)) // a copy is whole
	s.logger = s.provider.Logger(program, log.WithInstrumentationVersion(version.String()))
	return s
}

// records are those that wait.
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
	return nil // the count of what was dropped says it
}

// Send copies a line. It does not wait. See [audit.Log].
func (all Copies) Send(text []byte, r audit.Record) {
	if len(all) == 0 {
		return
	}
	record := newRecord(text, r)
	for _, s := range all {
		s.logger.Emit(context.Background(), record)
	}
}

// Dropped is how many copies were not sent.
func (all Copies) Dropped() (n uint64) {
	for _, s := range all {
		n += s.queue.dropped.Load()
	}
	return n
}

// Close sends what waits, everywhere at once, for as long as ctx lasts.
func (all Copies) Close(ctx context.Context) {
	var ends sync.WaitGroup
	for _, s := range all {
		ends.Go(func() { _ = s.provider.Shutdown(ctx) }) // what is not sent by then is lost
	}
	ends.Wait()
}

// Attributes of a record that a CloudEvent has as well.
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
