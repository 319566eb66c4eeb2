package kubernetes

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

// gone counts the answers with 410.
type gone struct {
	next  http.RoundTripper
	times atomic.Int64
}

func (g *gone) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := g.next.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusGone {
		g.times.Add(1)
	}
	return response, err
}

// awaitGone waits until the server has noticed that etcd was compacted.
func (c cluster) awaitGone(path, token string) {
	c.t.Helper()
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(200 * time.Millisecond) {
		if code, _ := c.Try(http.MethodGet, path+url.QueryEscape(token), nil); code == http.StatusGone {
			return
		}
	}
	c.t.Fatal("the server goes on with a list that is older than all that etcd has")
}

// What a list goes on from is gone when etcd was compacted meanwhile. The list is
// begun again, and has each name once, also what was written in between.
func TestRealListOverACompaction(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace())
	s.page = 4
	const before = 10
	for i := range before {
		put(t, s, store.BlockedToken([8]byte{byte(i)}, time.Time{}), "x")
	}
	watched := &gone{next: s.link.client.Transport}
	s.link.client = &http.Client{Transport: watched}
	path := "/api/v1/namespaces/" + s.place.namespace + "/configmaps?limit=1&continue="
	_, first := c.Try(http.MethodGet, path, nil)
	token := first["metadata"].(fields)["continue"].(string)
	var names []string
	for name, err := range s.List(t.Context(), store.AllBlocks()) {
		if err != nil {
			t.Fatalf("List = %v after %d answers with 410, want it begun again", err, watched.times.Load())
		}
		if len(names) == 0 { // the first page is here, the second is asked for later
			for i := range 3 {
				put(t, s, store.BlockedToken([8]byte{100 + byte(i)}, time.Time{}), fmt.Sprint(i))
			}
			c.Compact()
			c.awaitGone(path, token)
		}
		names = append(names, name.String())
	}
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) || n != before+3 {
		t.Errorf("List = %q, want %d names, each once", names, before+3)
	}
	if watched.times.Load() != 1 {
		t.Errorf("the server answered 410 %d times, want once", watched.times.Load())
	}
}
