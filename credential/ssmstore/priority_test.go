package ssmstore

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/throttle"
)

// behind opens a store whose AWS is answer, with the limits of an account.
func behind(t *testing.T, answer http.HandlerFunc) (*Store, *throttle.Proxy) {
	t.Helper()
	isolate(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_REGION", "us-east-1")
	proxy := throttle.New(answer, throttle.ParameterStore)
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	u, err := url.Parse("ssm:///gp?endpoint=" + url.QueryEscape(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(u)
	if err != nil {
		t.Fatal(err)
	}
	return s, proxy
}

// Marks of tokens use up the three writes a second of an account. If a block had to
// wait for them, the other replicas would learn of it late.
func TestABlockGoesBeforeOtherWrites(t *testing.T) {
	s, _ := behind(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, map[string]any{"Version": 1}) })
	const marks = 12
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer cancel()
	var ended atomic.Int64
	for k := range marks {
		name, err := store.Blocked(fmt.Sprint("mark-", k))
		if err != nil {
			t.Fatal(err)
		}
		writing.Go(func() {
			if s.Put(ctx, name, store.NewSecret("x"), store.Replace) == nil {
				ended.Add(1)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // the first three used up the limit
	begun := time.Now()
	for range 2 {
		if err := s.Put(store.Urgently(ctx), store.BlocksVersion(), store.NewSecret("x"), store.Replace); err != nil {
			t.Fatal(err)
		}
	}
	if before := ended.Load(); before > 4 { // three at first, and one that was in progress
		t.Errorf("two urgent writes end after %v and %d of %d others, want 4 at most", time.Since(begun), before, marks)
	}
}

// An identity with the rights of the previous version may not delete several at once.
func TestDeletesWhatItMayDeleteSinglyOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		isOld bool
		want  map[string]int
	}{
		{"several at once", false, map[string]int{"DeleteParameters": 2, "DeleteParameter": 2}},
		{"one at a time", true, map[string]int{"DeleteParameters": 1, "DeleteParameter": 12}},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := map[string]int{}
			gone := map[string]bool{}
			s, _ := behind(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				var q struct {
					Name  string
					Names []string
				}
				_ = json.Unmarshal(body, &q)
				_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
				calls[operation]++
				if operation == "DeleteParameter" {
					gone[q.Name] = true
					reply(w, 200, map[string]any{})
					return
				}
				if c.isOld {
					fail(400, "AccessDeniedException", "not authorized to perform: ssm:DeleteParameters")(w, r)
					return
				}
				for _, name := range q.Names[1:] {
					gone[name] = true
				}
				reply(w, 200, map[string]any{"DeletedParameters": q.Names[1:], "InvalidParameters": q.Names[:1]})
			})
			var names []store.Name
			for k := range 12 {
				name, err := store.Blocked(fmt.Sprint("sb-", k))
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, name)
			}
			if err := s.DeleteAll(t.Context(), names); err != nil {
				t.Fatal(err)
			}
			if len(gone) != len(names) || fmt.Sprint(calls) != fmt.Sprint(c.want) {
				t.Errorf("%d are deleted with %v, want %d with %v", len(gone), calls, len(names), c.want)
			}
		})
	}
}
