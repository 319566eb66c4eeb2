package lfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// The profiles of workspace sb-agent.
const (
	pusher = `{allowedRepos: [acme/widgets], allowedRefs: ["agent/**"], permissions: [push]}`
	cloner = `{allowedRepos: [acme/widgets], permissions: [clone]}`
)

// A world is a gateway that serves Git LFS only, with a double of GitHub.
type world struct {
	*brokertest.Gateway
	t       *testing.T
	handler *Handler
	server  *httptest.Server
	session string
	git     http.Handler // serves everything except Git LFS; nil means not found

	mu    sync.Mutex // guards the rest
	cut   []context.CancelCauseFunc
	moved []int64
	full  error // the error that refuses the next transfers
}

func newWorld(t *testing.T, profile string) *world {
	t.Helper()
	w := &world{Gateway: brokertest.NewGateway(t, fakegithub.Options{}, profile), t: t}
	w.handler = &Handler{Access: w.Access, Begin: w.begin, Idle: func() time.Duration { return time.Minute }}
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		repo, path, ok := strings.Cut(r.URL.EscapedPath(), ".git/info/lfs")
		parsed, isRepo := api.ParseRepo(strings.TrimPrefix(repo, "/"))
		switch {
		case !ok && w.git != nil:
			w.git.ServeHTTP(rw, r)
			return
		case !ok || !isRepo:
			http.NotFound(rw, r)
			return
		}
		if w.handler.Serve(rw, r, Target{Repo: parsed, Path: path, RequestID: "request-1"}).IsBroken {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(w.server.Close)
	w.session = w.Session("")
	return w
}

func (w *world) begin(ctx context.Context, _ access.Caller, _ string) (context.Context, func(int64), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full != nil {
		return nil, nil, w.full
	}
	ctx, cut := context.WithCancelCause(ctx)
	w.cut = append(w.cut, cut)
	return ctx, func(moved int64) {
		cut(nil)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.moved = append(w.moved, moved)
	}, nil
}

// answered is an answer that has been read.
type answered struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

func (r answered) message() string {
	text, _ := r.body["message"].(string)
	return text
}

func (w *world) url(repo, path string) string {
	return w.server.URL + "/" + repo + ".git/info/lfs/" + path
}

// call sends an LFS API message as the workspace.
func (w *world) call(method, url, body string) answered {
	w.t.Helper()
	return w.send(w.request(method, url, strings.NewReader(body)))
}

func (w *world) request(method, url string, body io.Reader) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, url, body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Accept", MediaType)
	r.Header.Set("Content-Type", MediaType)
	r.SetBasicAuth("x", w.session)
	return r
}

func (w *world) send(r *http.Request) answered {
	w.t.Helper()
	answer, err := w.server.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := answered{status: answer.StatusCode, header: answer.Header, raw: raw}
	_ = json.Unmarshal(raw, &out.body)
	return out
}

func (w *world) batch(operation string, contents ...string) answered {
	w.t.Helper()
	return w.call("POST", w.url("acme/widgets", "objects/batch"), batchOf(operation, contents...))
}

func batchOf(operation string, contents ...string) string {
	var objects []string
	for _, content := range contents {
		objects = append(objects, fmt.Sprintf(`{"oid":%q,"size":%d}`, oidOf(content), len(content)))
	}
	return fmt.Sprintf(`{"operation":%q,"transfers":["lfs-standalone-file","basic","ssh"],"ref":{"name":"refs/heads/agent/x"},"objects":[%s],"hash_algo":"sha256"}`,
		operation, strings.Join(objects, ","))
}

func oidOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// href returns the address of an action for the first object.
func (r answered) href(t *testing.T, kind string) string {
	t.Helper()
	return r.action(t, kind).Href
}

func (r answered) action(t *testing.T, kind string) action {
	t.Helper()
	var answer offer
	if err := json.Unmarshal(r.raw, &answer); err != nil || r.status != 200 || len(answer.Objects) == 0 || answer.Objects[0].Actions[kind].Href == "" {
		t.Fatalf("batch = %d %s, want an action %s", r.status, r.raw, kind)
	}
	return answer.Objects[0].Actions[kind]
}

func (w *world) store(content string) {
	w.t.Helper()
	if _, err := w.AddLFSObject("acme", "widgets", strings.NewReader(content)); err != nil {
		w.t.Fatal(err)
	}
}

// sealed returns the gateway's address for a transfer.
func (w *world) sealed(t transfer) string {
	w.t.Helper()
	c := call{Handler: w.handler, base: w.url("acme/widgets", "")[:len(w.url("acme/widgets", ""))-1]}
	a, err := c.action(w.t.Context(), t)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Href
}

// verify tells the gateway that an upload of the first object is complete.
func (w *world) verify(batch answered, body string) answered {
	w.t.Helper()
	a := batch.action(w.t, verify)
	r := w.request("POST", a.Href, strings.NewReader(body))
	for name, value := range a.Header {
		r.Header.Set(name, value)
	}
	return w.send(r)
}

// checkHidden fails if shown contains a storage address or a token of GitHub.
func (w *world) checkHidden(what string, shown []byte) {
	w.t.Helper()
	secrets := []string{strings.TrimPrefix(w.StorageURL(), "https://"), strings.TrimPrefix(w.URL(), "https://"), "X-Amz-", "x-amz-", "AWS4-HMAC", "RemoteAuth", "alambic"}
	for _, secret := range append(secrets, w.tokens()...) {
		if bytes.Contains(shown, []byte(secret)) {
			w.t.Errorf("%s shows %q:\n%s", what, secret, shown)
		}
	}
}

// tokens returns the tokens that the gateway has for the workspace.
func (w *world) tokens() (secrets []string) {
	w.t.Helper()
	c, err := w.Access.Caller(w.request("GET", w.server.URL, nil), "")
	if err != nil {
		w.t.Fatal(err)
	}
	repo, _ := api.ParseRepo("acme/widgets")
	for _, use := range []access.Use{access.Read, access.Write} {
		if g, err := w.Access.Token(w.t.Context(), c, repo, use); err == nil {
			secrets = append(secrets, g.Token.Secret())
		}
	}
	if len(secrets) == 0 {
		w.t.Fatal("the gateway has no token")
	}
	return secrets
}
