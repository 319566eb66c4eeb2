package exposition

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestPage(t *testing.T) {
	var p Page
	p.Single("a_total", "counter", "As.", 2)
	p.ByLabel("b", "gauge", "Bs.", "kind", []string{"x", "y"}, map[string]int{"y": 3})
	p.Metric("c", "gauge", "Cs.")
	p.Sample("c", "case", "a\"b\\c\nd\xff", 0.25)
	want := "# HELP a_total As.\n# TYPE a_total counter\na_total 2\n" +
		"# HELP b Bs.\n# TYPE b gauge\nb{kind=\"x\"} 0\nb{kind=\"y\"} 3\n" +
		"# HELP c Cs.\n# TYPE c gauge\nc{case=\"a\\\"b\\\\c\\nd\uFFFD\"} 0.25\n"
	if p.String() != want {
		t.Errorf("page = %q, want %q", p.String(), want)
	}
	// A page of metrics is looked at with curl.
	var hostile Page
	hostile.Sample("d", "workspace", "\u202e\x7f\x1b[31m\u200b", 1)
	if got, want := hostile.String(), `d{workspace="\\u202e\\x7f\\x1b[31m\\u200b"} 1`+"\n"; got != want {
		t.Errorf("a label is %q, want %q", got, want)
	}
	p.Build()
	w := httptest.NewRecorder()
	p.Serve(w)
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") || !strings.Contains(w.Body.String(), "gatepass_build_info{version=") {
		t.Errorf("served as %q: %s", got, w.Body)
	}
	if got := Seconds(time.UnixMilli(1500)); got != 1.5 {
		t.Errorf("Seconds = %v, want 1.5", got)
	}
}
