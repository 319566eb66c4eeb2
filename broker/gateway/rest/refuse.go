package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// DecisionHeader is in every refusal by the gateway, and in no answer by GitHub, so
// that programs can tell the two apart.
const DecisionHeader = "Gatepass-Decision"

// A problem is a refusal in the form of GitHub's errors, which every client of its API
// understands.
type problem struct {
	Message          string `json:"message"`
	DocumentationURL string `json:"documentation_url"`
	Status           string `json:"status"`
}

const documentation = "https://github.com/gatepass/gatepass/blob/main/docs/gateway.md#gh-and-the-api"

// writeRefusal answers with a refusal by the gateway.
func writeRefusal(w http.ResponseWriter, r *broker.Refusal) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set(DecisionHeader, "refused; rule="+r.Reason)
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.RetryAfter+time.Second-1)/time.Second)))
	}
	status := r.Status
	if status == http.StatusNoContent { // "another host" has no body, but this form has one
		status = http.StatusNotFound
	}
	body, err := json.Marshal(problem{"gatepass: " + r.Detail, documentation, strconv.Itoa(status)})
	if err != nil { // cannot happen with three strings
		body = []byte("{}")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // fails only if the client has gone
}

func refuse(status int, reason, detail string) *broker.Refusal {
	return &broker.Refusal{Status: status, Reason: reason, Detail: detail}
}

// notHere refuses what the workspace may not see, with 404 as GitHub does.
func notHere(detail string) *broker.Refusal {
	return refuse(http.StatusNotFound, broker.ReasonRepository, detail)
}

// unavailable is the refusal if GitHub cannot be reached or its answer cannot be used.
func unavailable(detail string, err error) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusBadGateway, Reason: broker.ReasonGitHub, Detail: detail, Err: err}
}
