package hub

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/testkey"
)

var testKey = sync.OnceValue(func() *rsa.PrivateKey { return testkey.RSA(2048, 0) })

// everything is what the App of a world may do.
var everything = map[string]string{
	"contents": "write", "pull_requests": "write", "issues": "write", "actions": "write", "checks": "write", "statuses": "write",
	"deployments": "write", "security_events": "write", "metadata": "read", "administration": "write", "merge_queues": "write",
}

// A world is a GitHub with the hub and one App on acme, which has the private repository
// widgets.
type world struct {
	t    *testing.T
	s    *fakegithub.Server
	h    *Hub
	inst int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return worldOf(t, s)
}

func worldOf(t *testing.T, s *fakegithub.Server) *world {
	t.Helper()
	w := &world{t: t, s: s}
	var err error
	w.h, err = Attach(s)
	w.must(err)
	w.must(s.AddAccount("acme", fakegithub.Organization))
	app, err := s.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&testKey().PublicKey}, Permissions: everything})
	w.must(err)
	w.repository("widgets")
	in, err := s.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	w.must(err)
	w.inst = in.ID
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) repository(name string) fakegithub.Repository {
	w.t.Helper()
	repo, err := w.s.AddRepository(fakegithub.Repository{Owner: "acme", Name: name})
	w.must(err)
	return repo
}

func (w *world) token(p map[string]string, repos ...string) string {
	w.t.Helper()
	token, err := w.s.MintFor(w.inst, repos, p)
	w.must(err)
	return token
}

// A reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	raw    []byte
}

func (r reply) object(t *testing.T) object {
	t.Helper()
	var out object
	if err := json.Unmarshal(r.raw, &out); err != nil {
		t.Fatalf("%s: %v", r.raw, err)
	}
	return out
}

func (r reply) message() string {
	var out struct{ Message string }
	_ = json.Unmarshal(r.raw, &out)
	return out.Message
}

func (w *world) do(method, path, token, body string, headers ...string) reply {
	w.t.Helper()
	if !strings.HasPrefix(path, "https://") {
		path = w.s.URL() + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	w.must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := w.s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	w.must(err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	w.must(err)
	return reply{res.StatusCode, res.Header, raw}
}

func (w *world) want(got reply, status int) reply {
	w.t.Helper()
	if got.status != status {
		w.t.Fatalf("status = %d, want %d: %s", got.status, status, bytes.TrimSpace(got.raw))
	}
	return got
}

func (w *world) refs() map[string]string {
	w.t.Helper()
	refs, err := w.h.Refs("acme", "widgets")
	w.must(err)
	return refs
}

// Every row is tried twice: without the permission that fences it the double refuses and
// no ref moves; with all it needs a ref does move.
func TestMovesNeedTheirPermission(t *testing.T) {
	if testing.Short() {
		t.Skip("calls every endpoint that moves a ref")
	}
	t.Parallel()
	for _, m := range Moves() {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			in, err := m.Prepare(w.h, "acme", "widgets")
			w.must(err)
			before := w.refs()
			most := maps.Clone(everything)
			delete(most, m.Fence)
			if m.Fence == "contents" {
				most["contents"] = "read"
			}
			no := w.do(in.Method, in.Path, w.token(most), string(in.Body))
			if !refused(m, no) {
				t.Errorf("without %s: %d %s, want a refusal", m.Fence, no.status, no.raw)
			}
			w.must(m.Settle(w.h, "acme", "widgets"))
			if after := w.refs(); !maps.Equal(before, after) {
				t.Errorf("without %s refs moved from %v to %v", m.Fence, before, after)
			}
			if in, err = m.Prepare(w.h, "acme", "widgets"); err != nil {
				t.Fatal(err)
			}
			before = w.refs()
			yes := w.do(in.Method, in.Path, w.token(m.Needs), string(in.Body))
			w.must(m.Settle(w.h, "acme", "widgets"))
			if after := w.refs(); maps.Equal(before, after) {
				t.Errorf("with %v no ref moved; the answer was %d %s", m.Needs, yes.status, yes.raw)
			}
		})
	}
}

// refused reports whether an answer is GitHub's refusal for want of a permission.
func refused(m Move, got reply) bool {
	if m.GraphQL() {
		var out struct {
			Errors []struct{ Type, Message string }
		}
		_ = json.Unmarshal(got.raw, &out)
		return got.status == 200 && len(out.Errors) == 1 && out.Errors[0].Type == "FORBIDDEN" && out.Errors[0].Message == notForApps
	}
	return got.status == 403 && got.message() == notForApps
}
