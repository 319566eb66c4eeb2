package vaulttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

func (v *Vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, problem := v.check(r)
	v.mu.Lock()
	v.calls = append(v.calls, r.Method+" "+path)
	if problem != "" {
		v.invalid = append(v.invalid, r.Method+" "+path+": "+problem)
	}
	var fail http.HandlerFunc
	if len(v.next) > 0 {
		fail, v.next = v.next[0], v.next[1:]
	}
	v.mu.Unlock()
	switch mount, isLogin := loginMount(path); {
	case problem != "":
		Errors(http.StatusBadRequest, problem)(w, r)
	case fail != nil:
		fail(w, r)
	case isLogin:
		v.logIn(w, r, mount)
	default:
		v.serve(w, r, path)
	}
}

func (v *Vault) check(r *http.Request) (path, problem string) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	_, isLogin := loginMount(path)
	switch {
	case !ok || strings.Contains(path, "//"):
		return path, "not below /v1/"
	case r.URL.RawQuery != "":
		return path, "a query"
	case r.Header.Get("X-Vault-Request") != "true":
		return path, "no X-Vault-Request"
	case r.Header.Get("X-Vault-Namespace") != v.Namespace:
		return path, "namespace " + r.Header.Get("X-Vault-Namespace")
	case isLogin && r.Header.Get("X-Vault-Token") != "":
		return path, "a login with a token"
	}
	return path, ""
}

// loginMount returns MOUNT of auth/MOUNT/login.
func loginMount(path string) (mount string, ok bool) {
	mount, isAuth := strings.CutPrefix(path, "auth/")
	mount, isLogin := strings.CutSuffix(mount, "/login")
	return mount, isAuth && isLogin
}

func (v *Vault) logIn(w http.ResponseWriter, r *http.Request, mount string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.logins[mount]
	var body map[string]string
	if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&body) != nil {
		v.invalid = append(v.invalid, "a login that is not a POST of JSON strings")
	}
	switch {
	case !ok:
		Errors(http.StatusForbidden, "permission denied")(w, r) // as Vault does, without a token
	case !maps.Equal(body, l.Body):
		Errors(http.StatusBadRequest, "invalid role or secret ID")(w, r)
	default:
		reply(w, http.StatusOK, authOf(v.give(l), l.TTL, l.Renewable))
	}
}

func authOf(token string, ttl time.Duration, renewable bool) map[string]any {
	return map[string]any{"auth": map[string]any{
		"client_token": token, "lease_duration": int(ttl / time.Second), "renewable": renewable, "policies": []string{"default"},
	}}
}

func (v *Vault) serve(w http.ResponseWriter, r *http.Request, path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	name := r.Header.Get("X-Vault-Token")
	t, ok := v.tokens[name]
	if !ok || !t.end.IsZero() && !time.Now().Before(t.end) {
		Errors(http.StatusForbidden, "permission denied")(w, r)
		return
	}
	switch {
	case path == "auth/token/renew-self" && r.Method == http.MethodPost:
		v.renew(w, r, name, t)
	case r.Method == http.MethodPost && v.posts[path] != nil && t.allows(path):
		h := v.posts[path]
		v.mu.Unlock() // h may change v
		h(w, r)
		v.mu.Lock()
	case r.Method == http.MethodPost && !t.allows(path):
		Errors(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")(w, r)
	case r.Method != http.MethodGet:
		Errors(http.StatusMethodNotAllowed, "unsupported operation")(w, r)
	case path == "auth/token/lookup-self":
		ttl := 0
		if !t.end.IsZero() {
			ttl = int(time.Until(t.end) / time.Second)
		}
		reply(w, http.StatusOK, map[string]any{"data": map[string]any{"ttl": ttl, "renewable": t.login.Renewable}})
	case strings.HasPrefix(path, "sys/internal/ui/mounts/"):
		v.describe(w, r, t, strings.TrimPrefix(path, "sys/internal/ui/mounts/"))
	case !t.allows(path):
		Errors(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")(w, r)
	default:
		v.read(w, r, path)
	}
}

func (v *Vault) renew(w http.ResponseWriter, r *http.Request, name string, t *token) {
	if !t.login.Renewable {
		Errors(http.StatusBadRequest, "lease is not renewable")(w, r)
		return
	}
	reply(w, http.StatusOK, authOf(name, t.renew(), true))
}

// describe answers how a path is mounted, to callers who may read below it.
func (v *Vault) describe(w http.ResponseWriter, r *http.Request, t *token, path string) {
	for _, e := range v.engines {
		if strings.HasPrefix(path, e.path) && (t.allows(e.path) || len(t.login.Policies) > 0 && strings.HasPrefix(t.login.Policies[0], e.path)) {
			data := map[string]any{"path": e.path, "type": e.kind, "options": nil}
			if e.version != "" {
				data["options"] = map[string]any{"version": e.version}
			}
			reply(w, http.StatusOK, map[string]any{"data": data})
			return
		}
	}
	Errors(http.StatusForbidden, fmt.Sprintf("preflight capability check returned 403, please ensure client's policies grant access to path %q", path))(w, r)
}

func (v *Vault) read(w http.ResponseWriter, r *http.Request, path string) {
	if body, ok := v.secrets[path]; ok {
		reply(w, http.StatusOK, body)
		return
	}
	for _, e := range v.engines {
		if strings.HasPrefix(path, e.path) {
			Errors(http.StatusNotFound)(w, r)
			return
		}
	}
	Errors(http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", path))(w, r)
}
