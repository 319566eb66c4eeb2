package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/log"
)

// cloudEvents sends each record in the structured form of CloudEvents 1.0
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
type cloudEvents struct {
	client  *http.Client
	address string
	source  string
}

func newCloudEvents(address string) (cloudEvents, error) {
	c, err := client(address)
	host, _ := os.Hostname() // "" is a source, too
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
