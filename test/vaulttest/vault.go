// Package vaulttest is a strict double of the part of Vault that gatepass uses: logins,
// expiring tokens, KV engines, leases. It accepts only complete requests in Vault's
// form, and can be made to fail. make test-real tests the same behaviour with the real
// Vault.
package vaulttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Vault is an http.Handler, and an http.RoundTripper for tests without a network. The
// zero Vault is ready to use and empty.
type Vault struct {
	Namespace string // namespace that requests must name

	mu      sync.Mutex // guards what follows
	tokens  map[string]*token
	engines []engine
	secrets map[string]map[string]any   // by API path
	posts   map[string]http.HandlerFunc // by API path
	logins  map[string]Login
	next    []http.HandlerFunc
	calls   []string
	invalid []string
	given   int
}

// A Login is a mounted login method and the one body that it accepts.
type Login struct {
	Body      map[string]string
	TTL       time.Duration // of the tokens that it issues
	MaxTTL    time.Duration // limit of renewals; 0 means none
	Renewable bool
	Policies  []string // prefixes of the API paths that may be read and posted to; empty means all
}

type token struct {
	login Login
	end   time.Time // zero means never
	most  time.Time
}

type engine struct{ path, kind, version string }

// Mount mounts a secrets engine at path, which ends with a slash. version is the
// version of a KV engine.
func (v *Vault) Mount(path, kind, version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.engines = append(v.engines, engine{path, kind, version})
}

// Put makes Vault answer reads of path with body, an envelope.
func (v *Vault) Put(path string, body map[string]any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.secrets == nil {
		v.secrets = map[string]map[string]any{}
	}
	v.secrets[path] = body
}

// Remove removes the content of path.
func (v *Vault) Remove(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.secrets, path)
}

// PutKV2 stores fields in the KV engine of version 2 at mount.
func (v *Vault) PutKV2(mount, path string, written time.Time, fields map[string]any) {
	v.Put(mount+"data/"+path, map[string]any{"data": map[string]any{
		"data":     fields,
		"metadata": map[string]any{"created_time": written.UTC().Format(time.RFC3339Nano), "deletion_time": "", "destroyed": false, "version": 1},
	}})
}

// HandlePost makes h answer posts to path by callers with permission.
func (v *Vault) HandlePost(path string, h http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.posts == nil {
		v.posts = map[string]http.HandlerFunc{}
	}
	v.posts[path] = h
}

// Give issues a token like that of l, without a login.
func (v *Vault) Give(l Login) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.give(l)
}

func (v *Vault) give(l Login) string {
	v.given++
	name := fmt.Sprintf("hvs.test%d", v.given)
	t := &token{login: l}
	if l.TTL > 0 {
		t.end = time.Now().Add(l.TTL)
	}
	if l.MaxTTL > 0 {
		t.most = time.Now().Add(l.MaxTTL)
	}
	if v.tokens == nil {
		v.tokens = map[string]*token{}
	}
	v.tokens[name] = t
	return name
}

// Revoke revokes every token.
func (v *Vault) Revoke() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.tokens)
}

// Accept mounts a login method at auth/mount.
func (v *Vault) Accept(mount string, l Login) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.logins == nil {
		v.logins = map[string]Login{}
	}
	v.logins[mount] = l
}

// FailNext makes the handlers answer the next requests.
func (v *Vault) FailNext(handlers ...http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next = append(v.next, handlers...)
}

// Calls returns the requests so far, as "METHOD path" without /v1/.
func (v *Vault) Calls() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.calls)
}

// Count returns how often call was requested.
func (v *Vault) Count(call string) int {
	n := 0
	for _, c := range v.Calls() {
		if c == call {
			n++
		}
	}
	return n
}

// Invalid returns the requests that no Vault would accept, or that gatepass must not
// send.
func (v *Vault) Invalid() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.invalid)
}

// RoundTrip answers a request without a network.
func (v *Vault) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	recorder := httptest.NewRecorder()
	v.ServeHTTP(recorder, r)
	response := recorder.Result()
	response.Request = r
	return response, nil
}

// Errors answers status with Vault's form of errors.
func Errors(status int, errors ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		reply(w, status, map[string]any{"errors": append([]string{}, errors...)})
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// renew extends t and returns what is left.
func (t *token) renew() time.Duration {
	now := time.Now()
	t.end = now.Add(t.login.TTL)
	if !t.most.IsZero() && t.most.Before(t.end) {
		t.end = t.most
	}
	return t.end.Sub(now)
}

// allows reports whether the token may read path, or post to it.
func (t *token) allows(path string) bool {
	return len(t.login.Policies) == 0 || slices.ContainsFunc(t.login.Policies, func(p string) bool { return strings.HasPrefix(path, p) })
}
