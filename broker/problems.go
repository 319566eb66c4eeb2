package broker

import (
	"net/http"

	"github.com/gatepass/gatepass/api"
)

// inProblems answers what mux has nothing for with a problem document, as every
// other error is.
func withProblems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler, pattern := mux.Handler(r); pattern == "" {
			mute := &statusOnly{ResponseWriter: w}
			handler.ServeHTTP(mute, r)
			_ = api.WriteProblem(w, api.NewProblem(mute.status, "this broker serves no such path, or not by that method")) // the client has gone
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// muted takes the headers of an answer, and keeps its status and text back.
type statusOnly struct {
	http.ResponseWriter
	status int
}

func (m *statusOnly) WriteHeader(status int) { m.status = status }

func (m *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
