package broker

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// git's format is no other way in, and no cache keeps what it answers.
func TestWhoGetsCredentialsInGitsFormat(t *testing.T) {
	b := newBench(t)
	const body = "protocol=https\nhost=github.com\npath=acme/widgets.git\n\n"
	for caller, want := range map[string]int{"": 401, "forged": 401, "../x": 403, "ci": 200} {
		got := b.ask(caller, CredentialsPath, "text/plain", body)
		if got.Code != want || strings.Contains(got.Body.String(), "password=") != (want == 200) {
			t.Errorf("caller %q: %d %s, want %d", caller, got.Code, got.Body, want)
		}
		if want == 200 {
			for name, value := range map[string]string{"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
				if got.Header().Get(name) != value {
					t.Errorf("%s: %q, want %q", name, got.Header().Get(name), value)
				}
			}
		}
	}
	r := httptest.NewRequest(http.MethodGet, CredentialsPath, nil)
	r.Header.Set("Test-Caller", "ci")
	w := httptest.NewRecorder()
	if b.handler.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
		t.Errorf("GET: %d with Allow %q, want 405 and POST", w.Code, w.Header().Get("Allow"))
	}
}
