package lfs

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// maxMessage is how many bytes of a text by GitHub are passed on.
const maxMessage = 1000

// A message is an error of the LFS API. git-lfs prints Message.
type message struct {
	Message   string `json:"message"`
	RequestID string `json:"request_id,omitempty"`
}

// Refuse answers a Git LFS request with a refusal by the gateway.
func Refuse(w http.ResponseWriter, r *broker.Refusal, requestID string) {
	h := w.Header()
	h.Set("Gatepass-Decision", "refused; rule="+r.Reason)
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.RetryAfter+time.Second-1)/time.Second)))
	}
	if r.Status == http.StatusUnauthorized {
		const challenge = `Basic realm="gatepass"`
		h.Set("WWW-Authenticate", challenge)
		h.Set("LFS-Authenticate", challenge)
	}
	write(w, r.Status, message{"gatepass: " + usererr.Escape(r.Detail), requestID})
}

// logRefusal logs the cause of a refusal, for the operator.
func (c *call) logRefusal(r *broker.Refusal) {
	if r.Err == nil || errors.Is(r.Err, access.ErrNoIdentity) {
		return
	}
	c.Access.Broker.Log.WarnContext(c.r.Context(), "the gateway refused a request of Git LFS",
		"request_id", c.target.RequestID, "workspace", c.ID, "status", r.Status, "reason", r.Reason, "error", r.Err)
}

// write answers with a message of the LFS API.
func write(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // cannot happen: these are our own types
		status, text = http.StatusInternalServerError, []byte(`{"message":"gatepass: the broker could not answer"}`)
	}
	h := w.Header()
	h.Set("Content-Type", MediaType)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // fails only if the client has gone
}

// readJSON reads a message from the client, of at most max bytes.
func (c *call) readJSON(max int64, into any) error {
	if kind := c.r.Header.Values("Content-Type"); len(kind) != 1 || !isMediaType(kind[0]) {
		return refusal(http.StatusUnsupportedMediaType, broker.ReasonRequest, "the Content-Type of this call is "+MediaType)
	}
	if encoding := c.r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return refusal(http.StatusUnsupportedMediaType, broker.ReasonRequest, "the body must not be compressed")
	}
	var body []byte
	err := c.bodies.Read(c.w, c.ID, max, func() (err error) {
		body, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, max))
		return err
	})
	if _, isLarge := errors.AsType[*http.MaxBytesError](err); isLarge {
		return refusal(http.StatusRequestEntityTooLarge, broker.ReasonRequest, "the request is too large")
	}
	if r, is := errors.AsType[*broker.Refusal](err); is {
		return r
	}
	if err != nil || json.Unmarshal(body, into) != nil {
		return broker.BadRequest("the body is no message of Git LFS")
	}
	return nil
}

func isMediaType(text string) bool {
	return text == MediaType || text == MediaType+"; charset=utf-8"
}

// shown returns a text by GitHub that is safe to show in a terminal.
func shown(text string) string { return usererr.Escape(redact.Text(text, maxMessage)) }
