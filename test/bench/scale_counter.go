package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A callCounter counts the calls of a store's server by operation, on the wire. Refused calls
// count too.
type callCounter struct {
	mu     sync.Mutex // guards calls
	calls  map[string]int
	nameOf func(*http.Request) string // returns the operation; "" is not counted
}

// wrap returns next behind the counter.
func (t *callCounter) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.add(t.nameOf(r))
		next.ServeHTTP(w, r)
	})
}

func (t *callCounter) add(operation string) {
	if operation == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		t.calls = map[string]int{}
	}
	t.calls[operation]++
}

// take returns the calls since the last take.
func (t *callCounter) take() calls {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.calls
	t.calls = nil
	return taken
}

// calls are counts by operation.
type calls map[string]int

func (c calls) total() (n int) {
	for _, some := range c {
		n += some
	}
	return n
}

// of counts the operations that begin with a word.
func (c calls) of(word string) (n int) {
	for operation, some := range c {
		if strings.HasPrefix(operation, word) {
			n += some
		}
	}
	return n
}

// each returns the counts divided by n, as text.
func (c calls) each(n float64) string {
	if len(c) == 0 {
		return "none"
	}
	var parts []string
	for _, operation := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%s %.3g", operation, float64(c[operation])/n))
	}
	return strings.Join(parts, ", ")
}

// awsOperation returns AWS's name of the call, as in "GetParameter".
func awsOperation(r *http.Request) string {
	target := r.Header.Get("X-Amz-Target")
	return target[strings.LastIndexByte(target, '.')+1:]
}

// vaultOperation returns the operation on a KV engine, as in "read data".
func vaultOperation(r *http.Request) string {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/v1/"), "/", 3)
	if len(parts) < 2 || parts[0] == "sys" || parts[0] == "auth" {
		return ""
	}
	verb := map[string]string{http.MethodGet: "read", http.MethodPost: "write", http.MethodPut: "write", http.MethodDelete: "delete", "LIST": "list", http.MethodPatch: "patch"}[r.Method]
	if r.URL.Query().Get("list") == "true" {
		verb = "list"
	}
	return verb + " " + parts[1]
}

// kubernetesOperation returns Kubernetes' verb and the kind, as in "list secrets".
func kubernetesOperation(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 5 || parts[2] != "namespaces" {
		return ""
	}
	verb := map[string]string{http.MethodGet: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}[r.Method]
	switch {
	case r.URL.Query().Has("watch"):
		verb = "watch"
	case len(parts) == 5 && r.Method == http.MethodGet:
		verb = "list"
	}
	return verb + " " + parts[4]
}

// percentiles returns the median and the 99th percentile. With fewer than a hundred
// values the latter is the highest.
func percentiles(took []time.Duration) (p50, p99 time.Duration) {
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	return took[len(took)/2], took[min(len(took)-1, len(took)*99/100)]
}
