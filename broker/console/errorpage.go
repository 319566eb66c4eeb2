package console

import (
	"bytes"
	"net/http"

	"github.com/gatepass/gatepass/api"
)

// readable lets a person in a browser read a problem document as a page.
func (c *Console) readable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held := &problemHolder{ResponseWriter: w}
		next.ServeHTTP(held, r)
		if !held.isProblem {
			return
		}
		p := api.DecodeProblem(api.ProblemMediaType, held.body.Bytes())
		_ = c.show(request{Request: r, w: w}, held.status, view{Title: p.Title, Problem: &p}) // the template was parsed
	})
}

// A problemHolder keeps back an answer that is a problem document.
type problemHolder struct {
	http.ResponseWriter
	isProblem bool
	status    int
	body      bytes.Buffer
}

func (h *problemHolder) WriteHeader(status int) {
	h.status = status
	if h.isProblem = h.Header().Get("Content-Type") == api.ProblemMediaType; !h.isProblem {
		h.ResponseWriter.WriteHeader(status)
	}
}

func (h *problemHolder) Write(data []byte) (int, error) {
	if h.isProblem {
		return h.body.Write(data)
	}
	return h.ResponseWriter.Write(data)
}

func (h *problemHolder) Unwrap() http.ResponseWriter { return h.ResponseWriter }
