package broker

import "net/http"

// An Endpoint is a call that a [Server] answers besides its own, with the same
// request id, problem documents, log and metrics.
type Endpoint struct {
	Name string // for metrics
	// Serve answers a call. Its error is a [*Refusal] or a problem of package api,
	// or something that is not the caller's business; nothing was answered then.
	Serve func(w http.ResponseWriter, r *http.Request, requestID string) error
}

func (e Endpoint) serve(c *call) error { return malformed(e.Serve(c.w, c.r, c.id)) }
