package manifestflow

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/mint"
)

func port(t *testing.T, s *Server) int {
	t.Helper()
	_, text, _ := strings.Cut(s.host, ":")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Only a query with the state and one code ends the waiting.
func FuzzCallback(f *testing.F) {
	permissions, err := mint.Verbs("clone")
	if err != nil {
		f.Fatal(err)
	}
	flow := Flow{Manifest: mint.Manifest{Homepage: "https://acme.test", Permissions: permissions}, GitHub: "https://ghe.example"}
	f.Add("code=" + code + "&state=STATE")
	f.Add("code=" + code + "&state=")
	f.Add("state=STATE&state=STATE&code=x")
	f.Add("code=a%2fb&state=STATE;")
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, query string) {
		s, err := newServer(flow, "https://ghe.example/settings/apps", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		query = strings.ReplaceAll(query, "STATE", s.state)
		r := httptest.NewRequest(http.MethodGet, s.at(s.callbackPath()), nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		s.handler().ServeHTTP(w, r)
		values, _ := url.ParseQuery(query)
		good := len(values["state"]) == 1 && values.Get("state") == s.state && len(values["code"]) == 1 && mint.CheckCode(values.Get("code")) == nil
		if taken := len(s.codes) == 1; taken != good || taken != (w.Code == http.StatusSeeOther) {
			t.Errorf("callback?%s = %d, taken %v, want %v", query, w.Code, taken, good)
		}
	})
}
