package openapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// operations are the description's methods and paths for Apps and the data that they
// read, with the allowed keys of the query and the schema of the body. A placeholder
// that may be several segments ends in "...". From the npm package @octokit/openapi
// 23.0.2 (MIT).
//
//go:embed operations.json
var operations []byte

// operation is one of the operations.
type operation struct {
	Method string   `json:"method"`
	Path   string   `json:"path"` // with {placeholders}
	Query  []string `json:"query"`
	Body   string   `json:"body"`
}

// redirects is the target of GitHub's redirects for former names, which is not in the
// description.
var redirects = operation{Method: http.MethodGet, Path: "/repositories/{id}"}

// Watch returns a transport that reports to t every request that is not in the
// description, and then passes it on.
func (c Contract) Watch(t *testing.T, next http.RoundTripper) http.RoundTripper {
	t.Helper()
	var known []operation
	if err := json.Unmarshal(operations, &known); err != nil {
		t.Fatal(err)
	}
	return &watcher{t, c, append(known, redirects), next}
}

type watcher struct {
	t     *testing.T
	c     Contract
	known []operation
	next  http.RoundTripper
}

func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err := w.check(r, body); err != nil {
		w.t.Errorf("GitHub's description does not know our request %s %s: %v", r.Method, r.URL.Path, err)
	}
	return w.next.RoundTrip(r)
}

func (w *watcher) check(r *http.Request, body []byte) error {
	path := strings.TrimPrefix(r.URL.Path, "/api/v3")
	i := slices.IndexFunc(w.known, func(o operation) bool { return o.Method == r.Method && o.matches(path) })
	if i < 0 {
		return errors.New("there is no such operation")
	}
	o := w.known[i]
	for key := range r.URL.Query() {
		if !slices.Contains(o.Query, key) {
			return fmt.Errorf("its query has %q", key)
		}
	}
	switch {
	case o.Body == "" && len(body) > 0:
		return errors.New("it has a body")
	case o.Body == "":
		return nil
	}
	return w.c.Validate(w.t, o.Body, body)
}

// matches compares a path with the template, segment by segment.
func (o operation) matches(path string) bool {
	want, got := strings.Split(o.Path, "/"), strings.Split(path, "/")
	if last := len(want) - 1; strings.HasSuffix(o.Path, "...}") && len(got) > last {
		got = append(got[:last:last], strings.Join(got[last:], "/"))
	}
	return slices.EqualFunc(want, got, func(w, g string) bool {
		return w == g || strings.HasPrefix(w, "{") && g != ""
	})
}
