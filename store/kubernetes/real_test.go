package kubernetes

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// A cluster is a real API server, with a user who has all rights.
type cluster struct {
	*kubernetestest.Cluster
	t *testing.T
}

type fields = kubernetestest.Fields

// realCluster opens stores as a user with all rights.
func realCluster(t *testing.T) cluster {
	t.Helper()
	c := cluster{kubernetestest.New(t), t}
	t.Setenv("KUBECONFIG", c.Kubeconfig)
	return c
}

func openStore(t *testing.T, raw string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkError wants one line with all of the parts.
func checkError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, part := range append(parts, "") {
		if text := err.Error(); !strings.Contains(text, part) || strings.ContainsAny(text, "\n\r") {
			t.Errorf("error = %q, want %q in one line", text, part)
		}
	}
}

func put(t *testing.T, s store.Store, name store.Name, value string) {
	t.Helper()
	if err := s.Put(t.Context(), name, store.NewSecret(value), store.Replace); err != nil {
		t.Fatalf("Put(%s) = %v", name, err)
	}
}

func list(t *testing.T, s store.Store, below store.Prefix) (names []string) {
	t.Helper()
	for n, err := range s.List(t.Context(), below) {
		if err != nil {
			t.Fatalf("List(%s) = %v", below, err)
		}
		names = append(names, n.String())
	}
	return names
}

// each runs f n times at once.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func sprint(i int) string { return fmt.Sprint("value ", i) }
