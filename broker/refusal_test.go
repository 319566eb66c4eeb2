package broker

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/api"
)

func TestWhatIsNotServed(t *testing.T) {
	handler := newBench(t).start(Config{Mounted: map[string]http.Handler{"GET /page": http.NotFoundHandler()}}).Handler()
	for _, c := range []struct {
		method, path string
		want         int
		allow        string
	}{
		{"POST", "/v1/token/", 404, ""},
		{"POST", "/v1/tokens", 404, ""},
		{"GET", "/", 404, ""},
		{"POST", "/page", 405, "GET, HEAD"},
	} {
		got := httptest.NewRecorder()
		handler.ServeHTTP(got, httptest.NewRequest(c.method, c.path, nil))
		if got.Code != c.want || got.Header().Get("Content-Type") != api.ProblemMediaType || got.Header().Get("Allow") != c.allow || !strings.Contains(got.Body.String(), `"status":`) {
			t.Errorf("%s %s = %d %v %s, want the problem %d", c.method, c.path, got.Code, got.Header(), got.Body, c.want)
		}
	}
}
