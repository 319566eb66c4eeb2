package serve

import (
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/internal/otlp"
	"github.com/gatepass/gatepass/internal/version"
)

// service is how this program calls itself where telemetry goes.
func service() otlp.Service { return otlp.Service{Name: program, Version: version.String()} }

// copying sends copies of the audit log's lines where the file says. The log
// itself stays the truth: copies may be dropped.
func copying(a config.Audit, headers http.Header) (copies []*otlp.Exporter, tell func([]byte, audit.Record)) {
	var tells []func([]byte, audit.Record)
	if a.CloudEvents != "" {
		e := otlp.NewExporter(a.CloudEvents, http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}, 1, func(items []any) any { return items[0] })
		host, _ := os.Hostname() // "" is a source, too
		copies = append(copies, e)
		tells = append(tells, func(text []byte, r audit.Record) { e.Add(newCloudEvent(host, text, r)) })
	}
	if a.OTLP != "" {
		e := otlp.NewLogs(a.OTLP, headers, service())
		copies = append(copies, e)
		tells = append(tells, func(text []byte, r audit.Record) { e.Add(newLogRecord(text, r)) })
	}
	if len(tells) == 0 {
		return nil, nil
	}
	return copies, func(text []byte, r audit.Record) {
		for _, t := range tells {
			t(text, r)
		}
	}
}

// A cloudEvent is one line in the structured form of CloudEvents 1.0
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject,omitempty"`
	Time        time.Time       `json:"time"`
	ContentType string          `json:"datacontenttype"`
	Data        json.RawMessage `json:"data"` // the line, letter for letter
}

func newCloudEvent(host string, text []byte, r audit.Record) cloudEvent {
	return cloudEvent{
		SpecVersion: "1.0", ID: r.Hash, Source: "/" + program + "/" + host, Type: "dev.gatepass.audit." + r.Kind,
		Subject: r.Workspace, Time: r.Time, ContentType: "application/json", Data: text,
	}
}

// The severities of OpenTelemetry's log records.
const (
	severityInfo = 9
	severityWarn = 13
)

func newLogRecord(text []byte, r audit.Record) otlp.LogRecord {
	severity := severityInfo
	if r.Decision == broker.Refused {
		severity = severityWarn
	}
	attributes := []otlp.Attribute{otlp.Text("gatepass.audit.seq", strconv.FormatUint(r.Seq, 10)), otlp.Text("gatepass.audit.hash", r.Hash), otlp.Text("gatepass.audit.kind", r.Kind)}
	for _, a := range []struct{ key, value string }{
		{"gatepass.workspace", r.Workspace}, {"gatepass.decision", r.Decision}, {"gatepass.reason", r.Reason}, {"gatepass.repository", r.Repository},
	} {
		if a.value != "" {
			attributes = append(attributes, otlp.Text(a.key, a.value))
		}
	}
	return otlp.NewLogRecord(r.Time, severity, string(text), attributes...)
}
