package manifestflow

import (
	"crypto/subtle"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// holdResult is how long a request for the result waits before the browser is told to
// ask again.
const holdResult = 20 * time.Second

// handler answers only requests to this host and port. So a web page whose name was
// pointed here (DNS rebinding) gets nothing, and forms of other pages are refused.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+s.root+"{$}", s.show)
	mux.HandleFunc("GET "+s.callbackPath(), s.callback)
	mux.HandleFunc("POST "+s.cancelPath(), s.cancel)
	mux.HandleFunc("GET "+s.resultPath(), s.showResult)
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.setHeaders(w.Header())
		switch {
		case r.Host != s.host:
			http.Error(w, "this page does not belong to that host", http.StatusMisdirectedRequest)
		case r.Method == http.MethodHead: // a link preview must not use up what works once
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			guarded.ServeHTTP(w, r)
		}
	})
}

func (s *Server) setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", s.contentPolicy())
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	// GitHub sees the origin, which its own protection may need, but not the secret
	// path. With no-referrer, a form's Origin would be null.
	h.Set("Referrer-Policy", "strict-origin")
}

// Only GitHub and viewers of the page know callbackPath. Only the page knows the other
// two.
func (s *Server) callbackPath() string { return s.root + "callback" }
func (s *Server) cancelPath() string   { return s.root + s.inner + "/cancel" }
func (s *Server) resultPath() string   { return s.root + s.inner + "/result" }

// show shows the page to the first browser that asks, and by the cookie to the same
// browser again. Other users of this machine may see the address in the list of
// processes, and the page contains the state.
func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	first, over := !s.claimed, s.over
	s.claimed = true
	s.mu.Unlock()
	switch {
	case first:
		http.SetCookie(w, &s.cookie)
	case !s.hasCookie(r):
		s.render(w, http.StatusForbidden, foreignPage)
		return
	case over:
		http.Redirect(w, r, s.resultPath(), http.StatusSeeOther)
		return
	}
	s.render(w, http.StatusOK, s.form())
}

func (s *Server) hasCookie(r *http.Request) bool {
	c, err := r.Cookie(s.cookie.Name)
	return err == nil && equal(c.Value, s.cookie.Value)
}

// equal compares in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// end ends the waiting, and reports whether this call was the first.
func (s *Server) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.over
	s.over = true
	return first
}

func (s *Server) cancel(w http.ResponseWriter, _ *http.Request) {
	if !s.end() {
		s.render(w, http.StatusConflict, usedPage)
		return
	}
	s.render(w, http.StatusOK, cancelledPage)
	close(s.cancelled)
}

// callback accepts the code, once. A request without the state does not come from the
// page, and ends nothing.
func (s *Server) callback(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	state, code := query["state"], query["code"]
	if len(state) != 1 || !equal(state[0], s.state) {
		s.render(w, http.StatusForbidden, wrongStatePage)
		return
	}
	if len(code) != 1 || mint.CheckCode(code[0]) != nil {
		s.render(w, http.StatusBadRequest, noCodePage)
		return
	}
	if !s.end() {
		s.render(w, http.StatusConflict, usedPage)
		return
	}
	s.codes <- code[0]
	http.Redirect(w, r, s.resultPath(), http.StatusSeeOther) // removes the code from the browser's address
}

func (s *Server) showResult(w http.ResponseWriter, r *http.Request) {
	hold := time.NewTimer(s.hold)
	defer hold.Stop()
	select {
	case <-s.finished:
		s.mu.Lock()
		o := s.outcome
		s.mu.Unlock()
		s.render(w, http.StatusOK, o.page())
		_ = http.NewResponseController(w).Flush()
		s.shownOnce.Do(func() { close(s.shown) })
	case <-hold.C:
		s.render(w, http.StatusOK, workingPage)
	case <-r.Context().Done():
	}
}
