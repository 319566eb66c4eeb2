package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// EchoPath is where a broker with a gateway says how a request reached it, so that what
// stands in between can be found out. It takes any identity that the gateway takes. What
// comes behind the path is ignored.
//
// POST reads a body. GET with the query quiet=SECONDS says nothing for so long; with
// pause=SECONDS it sends the answer in two parts, so long apart.
const EchoPath = "/v1/echo"

// The limits of an echo.
const (
	MaxEcho     = 8 << 20         // bytes of a request's body
	MaxEchoWait = 2 * time.Minute // of quiet and pause
)

// EchoHeader is a header of every echo: one that the gateway's answers have and proxies do
// not know.
const EchoHeader = "Gatepass-Note"

// An Echo is a request as the broker saw it.
type Echo struct {
	Protocol    string `json:"protocol"`     // such as HTTP/1.1
	Host        string `json:"host"`         // by which the broker was called
	Target      string `json:"target"`       // path and query, as they came
	GitProtocol string `json:"git_protocol"` // the header
	Bytes       int64  `json:"bytes"`        // of the body
	// BodyMilliseconds is how long the body took, from its first byte to its end.
	BodyMilliseconds int64 `json:"body_ms"`
}

// EncodeEcho writes e for the wire.
func EncodeEcho(e Echo) ([]byte, error) { return json.Marshal(e) }

// DecodeEcho reads an answer. It ignores keys it does not know.
func DecodeEcho(data []byte) (Echo, error) {
	var e Echo
	if len(data) > MaxAnswer || json.Unmarshal(data, &e) != nil || e.Protocol == "" {
		return Echo{}, errors.New("the answer is not the JSON of an echo")
	}
	return e, nil
}

// EchoHeaders sets the headers of an echo.
func EchoHeaders(h http.Header) {
	h.Set("Content-Type", MediaType)
	h.Set("Cache-Control", "no-store")
	h.Set(EchoHeader, "echo")
}
