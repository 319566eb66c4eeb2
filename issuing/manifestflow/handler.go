package manifestflow

import (
	"crypto/subtle"
	"net/http"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// holdResult is how long the result is waited for before the browser is told to
// ask again.
const holdResult = 20 * time.Second

// handler answers nothing but a browser that was sent to this host and port: a
// web page whose name was made to lead here gets nothing (DNS rebinding), and
// neither do forms of other pages.
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
			http.Error(w, "this is not the page of that host", http.StatusMisdirectedRequest)
		case r.Method == http.MethodHead: // who only looks ahead must not use up what works once
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
	// GitHub is told the origin, which its own protection may ask for, and not
	// the secret path. With no-referrer, a form's Origin would be null.
	h.Set("Referrer-Policy", "strict-origin")
}

// GitHub and whoever is shown the page know callbackPath; the other two are known
// to the page only.
func (s *Server) callbackPath() string { return s.root + "callback" }
func (s *Server) cancelPath() string   { return s.root + s.inner + "/cancel" }
func (s *Server) resultPath() string   { return s.root + s.inner + "/result" }

// show serves the page to the first who asks, and by the cookie to the same
// browser again: the address may be seen by other users of this machine, in the
// list of processes, and the page has the state in it.
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

// equal takes as long for a guess that is nearly right as for any other.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// end reports whether the caller is the one who ends the waiting.
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

// callback takes the code, once. What does not come with the state is not from
// the page, and ends nothing.
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
	http.Redirect(w, r, s.resultPath(), http.StatusSeeOther) // the address block forgets the code
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
