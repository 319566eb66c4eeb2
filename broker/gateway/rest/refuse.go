package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// DecisionHeader is in every refusal of the gateway's own and in no answer of GitHub's, so
// that a program can tell who refused.
const DecisionHeader = "Gatepass-Decision"

// A problem is a refusal in the form of GitHub's errors, which every client of its API
// shows.
type problem struct {
	Message          string `json:"message"`
	DocumentationURL string `json:"documentation_url"`
	Status           string `json:"status"`
}

const documentation = "https://github.com/gatepass/gatepass/blob/main/docs/gateway.md#gh-and-the-api"

// writeRefusal answers with a refusal of the gateway's own.
func writeRefusal(w http.ResponseWriter, r *broker.Refusal) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set(DecisionHeader, "refused; rule="+r.Reason)
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.RetryAfter+time.Second-1)/time.Second)))
	}
	status := r.Status
	if status == http.StatusNoContent { // another host is no answer in this form
		status = http.StatusNotFound
	}
	body, err := json.Marshal(problem{"gatepass: " + r.Detail, documentation, strconv.Itoa(status)})
	if err != nil { // never of three texts
		body = []byte("{}")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone
}

func refuse(status int, reason, detail string) *broker.Refusal {
	return &broker.Refusal{Status: status, Reason: reason, Detail: detail}
}

// notHere refuses what the workspace may not see, as GitHub does.
func notHere(detail string) *broker.Refusal {
	return refuse(http.StatusNotFound, broker.ReasonRepository, detail)
}

// unavailable refuses while GitHub cannot be had.
func unavailable(detail string, err error) *broker.Refusal {
	return &broker.Refusal{Status: http.StatusBadGateway, Reason: broker.ReasonGitHub, Detail: detail, Err: err}
}
