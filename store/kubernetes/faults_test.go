package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/store"
)

// A transport answers in the place of the network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// faulty is a store before a server that answers so. Only what a real server
// cannot be brought to do is tested with it.
func faulty(t *testing.T, answer transport) *Store {
	t.Helper()
	s := openStore(t, "kubernetes://ns")
	s.link = newLink(&url.URL{Scheme: "https", Host: "k8s.example"}, &http.Client{Transport: answer}, "the kubeconfig")
	return s
}

func says(code int, body string, headers ...string) *http.Response {
	r := &http.Response{StatusCode: code, Status: http.StatusText(code), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func saysNo(code int, reason, message string) *http.Response {
	return says(code, text(fields{"kind": "Status", "reason": reason, "message": message, "code": code}))
}

// whole is an object as a server has it.
func (s *Store) whole(n store.Name, value string) object {
	o := s.place.newObject(n, store.NewSecret(value), "another write", time.Now())
	o.Metadata.UID, o.Metadata.ResourceVersion = "u-1", "7"
	return o
}

func TestBusyServerIsAskedAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
	}{{"too many requests", 429}, {"no leader", 500}, {"shutting down", 503}, {"timeout", 504}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				var s *Store
				s = faulty(t, func(*http.Request) (*http.Response, error) {
					if calls++; calls < 3 {
						return says(c.code, "", "Retry-After", "2"), nil
					}
					return says(200, text(s.whole(store.Signer(), "x"))), nil
				})
				begun := time.Now()
				e, err := s.Get(t.Context(), store.Signer())
				if err != nil || e.Value.Reveal() != "x" || calls != 3 {
					t.Errorf("Get = %v after %d calls, want it from the third", err, calls)
				}
				if took := time.Since(begun); took < 4*time.Second || took > 6*time.Second {
					t.Errorf("it took %v, want what the server asked for", took)
				}
			})
		})
	}
}

func TestWaitsEnd(t *testing.T) {
	for _, c := range []struct {
		name, after string
		calls       int
		deadline    time.Duration
		want        []string
	}{
		{"a server that stays busy", "0", httpclient.MaxAttempts, time.Minute, []string{"cannot answer now (503): storage is (re)initializing", "in a moment"}},
		{"a wait past the deadline", "60", 1, 5 * time.Second, []string{"try again in 1m0s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				calls := 0
				s := faulty(t, func(*http.Request) (*http.Response, error) {
					calls++
					r := saysNo(503, "", "storage is (re)initializing")
					r.Header.Set("Retry-After", c.after)
					return r, nil
				})
				_, err := s.Get(ctx, store.Signer())
				checkError(t, err, c.want...)
				if calls != c.calls {
					t.Errorf("%d calls, want %d", calls, c.calls)
				}
			})
		})
	}
}

// An answer that is not of an API server is neither an entry nor a missing entry.
func TestStrangeAnswers(t *testing.T) {
	var s *Store
	whole := func() string { return text(s.whole(store.Signer(), "x")) }
	elsewhere := func(change func(*object)) string {
		o := s.whole(store.Signer(), "x")
		change(&o)
		return text(o)
	}
	for name, answer := range map[string]func() *http.Response{
		"a page of a proxy": func() *http.Response { return says(200, "<html>log in</html>") },
		"nothing":           func() *http.Response { return says(200, "") },
		"null":              func() *http.Response { return says(200, "null") },
		"half an object":    func() *http.Response { return says(200, whole()[:200]) },
		"two objects":       func() *http.Response { return says(200, whole()+whole()) },
		"another kind":      func() *http.Response { return says(200, elsewhere(func(o *object) { o.Kind = "ConfigMap" })) },
		"another object":    func() *http.Response { return says(200, elsewhere(func(o *object) { o.Metadata.Name = "x" })) },
		"another type":      func() *http.Response { return says(200, elsewhere(func(o *object) { o.Type = "Opaque" })) },
		"no version": func() *http.Response {
			return says(200, elsewhere(func(o *object) { o.Metadata.ResourceVersion = "" }))
		},
		"not found, says a proxy": func() *http.Response { return says(404, "<html>404</html>") },
		"not found, of another path": func() *http.Response {
			return saysNo(404, "NotFound", "the server could not find the requested resource")
		},
		"a redirect": func() *http.Response { return says(302, "", "Location", "https://far.example") },
		"too much":   func() *http.Response { return says(200, strings.Repeat(" ", maxAnswer+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			s = faulty(t, func(*http.Request) (*http.Response, error) { return answer(), nil })
			e, err := s.Get(t.Context(), store.Signer())
			checkError(t, err, "read config/github/signer of kubernetes://ns")
			if errors.Is(err, store.ErrNotFound) || e.Value.Reveal() != "" {
				t.Errorf("Get = %q, %v, want neither a value nor that there is none", e.Value.Reveal(), err)
			}
			for n, err := range s.List(t.Context(), store.AllBlocks()) {
				if err == nil {
					t.Errorf("List yields %s", n)
				}
			}
			if b, err := store.ReadBlocks(t.Context(), s); err == nil {
				t.Errorf("ReadBlocks = %+v, want an error", b)
			}
			if err := s.Delete(t.Context(), store.Signer()); err == nil {
				t.Error("Delete = nil, want an error")
			}
		})
	}
}

// What the server says is shown in one line, without what it may repeat.
func TestWordsOfTheServer(t *testing.T) {
	const secret = "ghs_0123456789abcdefghijklmnopqrstuvwxyz"
	s := faulty(t, func(*http.Request) (*http.Response, error) {
		return saysNo(403, "Forbidden", "denied\nby \x1b[31mpolicy: "+secret+strings.Repeat("!", 1000)), nil
	})
	_, err := s.Get(t.Context(), store.Signer())
	checkError(t, err, `denied by \x1b[31mpolicy: [redacted]!!!`)
	if strings.Contains(err.Error(), secret) || len(err.Error()) > 600 {
		t.Errorf("the error is %q", err)
	}
	s = faulty(t, func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost {
			return saysNo(422, "Invalid", "Invalid value: "+secret), nil
		}
		return nil, errors.New("only a POST was due")
	})
	err = s.Put(t.Context(), store.Signer(), store.NewSecret(secret), store.CreateOnly)
	checkError(t, err, "does not accept the object (422)")
	if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "redacted") {
		t.Errorf("the error is %q, want none of the server's words", err)
	}
}

// pages answers lists of n entries, page after page, and 410 where gone says so.
func (s *Store) pages(n int, gone func(call int) bool) transport {
	calls := 0
	return func(r *http.Request) (*http.Response, error) {
		calls++
		query := r.URL.Query()
		from := 0
		if at := query.Get("continue"); at != "" {
			fmt.Sscan(at, &from)
			if gone(calls) {
				return saysNo(410, "Expired", "The provided continue parameter is too old"), nil
			}
		}
		p := fields{"kind": "PartialObjectMetadataList", "metadata": fields{}, "items": []object{}}
		end := min(from+s.page, n)
		for i := from; i < end; i++ {
			o := s.whole(store.BlockedToken([8]byte{byte(i)}, time.Time{}), "x")
			p["items"] = append(p["items"].([]object), object{Metadata: o.Metadata})
		}
		if end < n {
			p["metadata"] = fields{"continue": fmt.Sprint(end)}
		}
		if query.Get("limit") != fmt.Sprint(s.page) || query.Get("labelSelector") == "" || r.Header.Get("Accept") != partialList {
			return says(400, ""), nil
		}
		return says(200, text(p)), nil
	}
}

// A list that took too long is begun again, and yields no name twice.
func TestExpiredListsBeginAgain(t *testing.T) {
	var answer transport
	s := faulty(t, func(r *http.Request) (*http.Response, error) { return answer(r) })
	s.page = 3
	answer = s.pages(10, func(call int) bool { return call == 3 || call == 5 })
	names := list(t, s, store.AllBlocks())
	slices.Sort(names)
	if len(names) != 10 || len(slices.Compact(names)) != 10 {
		t.Errorf("List = %q, want ten names, each once", names)
	}
	answer = s.pages(10, func(int) bool { return true })
	var last error
	for _, err := range s.List(t.Context(), store.AllBlocks()) {
		last = err
	}
	checkError(t, last, "refuses (410)", "too old")
}

// losing loses answers to requests of one method, which were carried out.
func losing(s *Store, method string) (lost *int) {
	lost = new(int)
	next := s.link.client.Transport
	s.link.client = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil && r.Method == method && *lost == 0 {
			*lost++
			response.Body.Close()
			return nil, errors.New("connection reset by peer")
		}
		return response, err
	})}
	return lost
}

// What was carried out without an answer is known again when it is repeated.
func TestRealLostAnswers(t *testing.T) {
	namespace := realCluster(t).Namespace()
	write := func(mode store.Mode) func(*Store) error {
		return func(s *Store) error { return s.Put(t.Context(), store.Signer(), store.NewSecret("x"), mode) }
	}
	for i, c := range []struct {
		name, method string
		before       bool
		run          func(*Store) error
	}{
		{"create", http.MethodPost, false, write(store.CreateOnly)},
		{"replace by making", http.MethodPost, false, write(store.Replace)},
		{"replace", http.MethodPatch, true, write(store.Replace)},
		{"delete", http.MethodDelete, true, func(s *Store) error { return s.Delete(t.Context(), store.Signer()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, fmt.Sprintf("kubernetes://%s/p%d", namespace, i))
			if c.before {
				put(t, s, store.Signer(), "before")
			}
			if _, err := s.open(""); err != nil {
				t.Fatal(err)
			}
			lost := losing(s, c.method)
			if err := c.run(s); err != nil || *lost != 1 {
				t.Errorf("= %v, and %d answers were lost, want success and one", err, *lost)
			}
		})
	}
	// Another's entry does not count as one's own write.
	s := openStore(t, "kubernetes://"+namespace+"/p0")
	if err := write(store.CreateOnly)(s); !errors.Is(err, store.ErrExists) {
		t.Errorf("Put = %v, want that it exists", err)
	}
}

// Another writer writes in between, again and again. A replacement need not have read
// what it replaces.
func TestRealReplaceWhileOthersWrite(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace())
	put(t, s, store.Signer(), "x")
	other := openStore(t, "kubernetes://"+s.place.namespace)
	next := s.link.client.Transport
	s.link.client = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPatch {
			put(t, other, store.Signer(), "another's")
		}
		return next.RoundTrip(r)
	})}
	put(t, s, store.Signer(), "mine")
	if e, err := other.Get(t.Context(), store.Signer()); err != nil || e.Value.Reveal() != "mine" {
		t.Errorf("Get = %v, want the last write", err)
	}
}

// A workspace waits for each of these calls.
func TestRealCallsOfAPut(t *testing.T) {
	c := realCluster(t)
	s := openStore(t, "kubernetes://"+c.Namespace())
	if _, err := s.open(""); err != nil {
		t.Fatal(err)
	}
	var calls []string
	next := s.link.client.Transport
	s.link.client = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		calls = append(calls, r.Method)
		return next.RoundTrip(r)
	})}
	for _, n := range []store.Name{store.Signer(), store.BlockedApp()} {
		for _, step := range []struct {
			name string
			mode store.Mode
			want []string
		}{
			{"creating", store.CreateOnly, []string{"POST"}},
			{"replacing", store.Replace, []string{"PATCH"}},
			{"replacing again", store.Replace, []string{"PATCH"}},
		} {
			calls = nil
			if err := s.Put(t.Context(), n, store.NewSecret(step.name), step.mode); err != nil || !slices.Equal(calls, step.want) {
				t.Errorf("%s %s = %v with the calls %q, want %q", step.name, n, err, calls, step.want)
			}
			if e, err := s.Get(t.Context(), n); err != nil || e.Value.Reveal() != step.name {
				t.Errorf("after %s %s: Get = %q, %v", step.name, n, e.Value.Reveal(), err)
			}
		}
	}
}

// A context that ends is the reason, in a wait as well.
func TestGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := faulty(t, func(r *http.Request) (*http.Response, error) {
		cancel()
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	_, err := s.Get(ctx, store.Signer())
	checkError(t, err, "the request was cancelled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Get = %v, want one that wraps context.Canceled", err)
	}
}
