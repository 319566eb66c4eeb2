package console

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/fairshare"
)

// openapiText describes every endpoint of the broker (OpenAPI 3.1,
// https://spec.openapis.org/oas/v3.1.1.html).
//
//go:embed openapi.yaml
var openapiText []byte

// openapiDocument is the description as JSON.
var openapiDocument = sync.OnceValues(func() (json.RawMessage, error) {
	var document map[string]any
	if err := yaml.Unmarshal(openapiText, &document); err != nil {
		return nil, err
	}
	return json.Marshal(document)
})

// serveOpenAPI answers GET /v1/openapi.json, to anybody: it says nothing about
// this broker.
func (c *Console) serveOpenAPI(w http.ResponseWriter, r *http.Request, _ string) error {
	if r.Method != http.MethodGet {
		return broker.NotAllowed(w, http.MethodGet)
	}
	document, err := openapiDocument()
	if err != nil {
		return err
	}
	_ = c.documents.Write(w, fairshare.Address(r.RemoteAddr), int64(len(document)), func() error {
		return api.WriteJSON(w, http.StatusOK, document)
	}) // the client has gone
	return nil
}
