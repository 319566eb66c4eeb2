package console

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// Package revoke tests what an operator's call does to tokens. This tests the answers.
func TestRevokeIsAnswered(t *testing.T) {
	b := newBench(t)
	mine := fakegithub.Hash(b.MustToken("sb-1", "acme/widgets", "read"))
	got := operate[api.Revocation](b, "POST", "/v1/workspaces/sb-1/revoke", "", 200)
	if got.Workspace != "sb-1" || !slices.Equal(got.Revoked, []string{mine}) || got.Pending != 0 || len(b.alive()) != 0 {
		t.Errorf("revoke = %+v, want the one token of sb-1", got)
	}
	wantCode(t, "the workspace afterwards", b.Token("sb-1", "acme/widgets", "read"), 403)
	operate[struct{}](b, "DELETE", "/v1/workspaces/sb-1/block", "", 204)
	wantCode(t, "unblocked", b.Token("sb-1", "acme/widgets", "read"), 200)
	for _, target := range []string{`{"owner":"Acme"}`, `{"app":true}`} {
		operate[api.Revocation](b, "POST", api.KillPath, target, 200)
		wantCode(t, target, b.Token("ci", "acme/widgets", "read"), 403)
		operate[struct{}](b, "POST", api.UnblockPath, target, 204)
		wantCode(t, target+" unblocked", b.Token("ci", "acme/widgets", "read"), 200)
	}
}

// Older clients unblock at the former endpoints, and read the former field.
func TestUnblockByItsFormerNames(t *testing.T) {
	b := newBench(t)
	check := func(when string, isBlocked bool) {
		t.Helper()
		page := operate[struct {
			Workspaces []map[string]any `json:"workspaces"`
		}](b, "GET", api.WorkspacesPath, "", 200)
		if len(page.Workspaces) != 1 || page.Workspaces[0]["blocked"] != isBlocked || page.Workspaces[0]["barred"] != isBlocked {
			t.Errorf("%s: the workspaces are %v, want one, blocked and barred %v", when, page.Workspaces, isBlocked)
		}
	}
	for _, c := range []struct{ method, path, body string }{
		{"DELETE", "/v1/workspaces/sb-1/bar", ""},
		{"POST", "/v1/admit", `{"workspace":"sb-1"}`},
	} {
		operate[api.Revocation](b, "POST", "/v1/workspaces/sb-1/revoke", "", 200)
		check("before "+c.path, true)
		operate[struct{}](b, c.method, c.path, c.body, 204)
		wantCode(t, "after "+c.path, b.Token("sb-1", "acme/widgets", "read"), 200)
		check("after "+c.path, false)
	}
}

// The answer says what is pending, and that it is being done.
func TestRevokeIsAnsweredWhileItIsPending(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	b.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(403), -1)
	for path, body := range map[string]string{"/v1/workspaces/sb-1/revoke": "", api.KillPath: `{"app":true}`} {
		if got := operate[api.Revocation](b, "POST", path, body, 202); got.Pending != 1 || len(got.Revoked) != 0 {
			t.Errorf("%s = %+v, want one pending", path, got)
		}
	}
}

func TestRevokeIsAnsweredWhenTheJournalRunsOut(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	b.Journal.Fail(errors.New("no space"))
	wantCode(t, "revoke", b.Do("night", "POST", "/v1/workspaces/sb-1/revoke", ""), 503)
	if n := len(b.alive()); n != 0 {
		t.Errorf("%d tokens are alive, want none", n)
	}
	wantCode(t, "unblock", b.Do("night", "DELETE", "/v1/workspaces/sb-1/block", ""), 503)
}

// The page names who shares a token before it is revoked, and counts them afterwards.
func TestThePageNamesWhoIsHit(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"sb-1", "sb-2"} {
		b.MustToken(id, "acme/widgets", "read")
	}
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	wantText(t, "the question", tab.send("GET", revokePath+"?kind=workspace&name=sb-1", nil), 200, "Other workspaces share its tokens and lose them, too: sb-2.")
	wantText(t, "the page", tab.send("GET", "/?revoked=1&pending=0&others=1", nil), 200, "1 other workspace lost tokens, too; the audit log has the ids.")
	got := tab.send("POST", revokePath, url.Values{"kind": {"app"}, "name": {""}})
	if at := got.Header().Get("Location"); at != "/?revoked=1&pending=0&workspaces=2" {
		t.Errorf("everything is blocked at %q, want both workspaces counted", at)
	}
	wantText(t, "the page", tab.send("GET", "/?revoked=1&pending=0&workspaces=2", nil), 200, "Blocked. 1 token revoked. 2 workspaces lost tokens; the audit log has the ids.")
}

// When GitHub reports a change, its installations are listed again.
func TestAnEventIsOnThePageAtOnce(t *testing.T) {
	b := newBench(t)
	tab := b.tab()
	tab.signIn(brokertest.OperatorToken)
	wantText(t, "the page", tab.send("GET", "/", nil), 200, "acme")
	if err := b.Suspend(b.Installations["acme"], true); err != nil {
		t.Fatal(err)
	}
	if text := tab.send("GET", "/", nil).Body.String(); strings.Contains(text, "suspended") {
		t.Error("GitHub is asked again without an event")
	}
	b.console.Revoker.Changed()
	wantText(t, "the page after the event", tab.send("GET", "/", nil), 200, "suspended")
}

// A damaged entry of one workspace does not hide the others.
func TestWhatIsDamagedIsListed(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	b.MustToken("ci", "octo/widgets", "read")
	for name, err := range b.Store.List(t.Context(), store.Workspaces()) {
		if id, _ := name.Workspace(); err == nil && id == "sb-1" {
			b.Store.Damage(name)
		}
	}
	page := operate[api.WorkspacePage](b, "GET", api.WorkspacesPath, "", 200)
	if len(page.Workspaces) != 2 || len(page.Workspaces[0].Tokens) != 1 || len(page.Workspaces[1].Tokens) != 0 {
		t.Errorf("the page has %+v, want both, and the token of ci", page.Workspaces)
	}
}

// stuck is a store whose list of workspaces hangs until ctx ends, or fails.
type stuck struct {
	store.Store
	is, fails atomic.Bool
}

func (s *stuck) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	if below != store.Workspaces() {
		return s.Store.List(ctx, below)
	}
	return func(yield func(store.Name, error) bool) {
		if s.is.Load() {
			<-ctx.Done()
		}
		if s.fails.Load() || ctx.Err() != nil {
			yield(store.Name{}, errors.New("the store is away"))
			return
		}
		s.Store.List(ctx, below)(yield)
	}
}

// An old listing says so; blocks and expired tokens in it are current.
func TestAListingOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := brokertest.NewGitHub(t)
		s := &stuck{Store: g.Store}
		b := newReplicaOn(g, s)
		b.MustToken("sb-1", "acme/widgets", "read")
		operate[api.WorkspacePage](b, "GET", api.WorkspacesPath, "", 200)
		b.MustToken("sb-2", "acme/widgets", "read")
		s.is.Store(true)
		operate[api.Revocation](b, "POST", "/v1/workspaces/sb-1/revoke", "", 200)
		b.Advance(time.Minute)
		page := operate[api.WorkspacePage](b, "GET", api.WorkspacesPath, "", 200)
		if age := b.Now().Sub(page.AsOf); len(page.Workspaces) != 1 || age < time.Minute || !page.Workspaces[0].Blocked || len(page.Workspaces[0].Tokens) != 0 {
			t.Errorf("page = %+v of %v ago, want sb-1, blocked and without a token", page, age)
		}
		if text := b.Do("night", "GET", "/", "").Body.String(); !strings.Contains(text, "the store takes long") {
			t.Errorf("the page does not say that its list is old: %s", text)
		}
		time.Sleep(10 * time.Minute) // let the listing expire
	})
}

func TestAListingThatFails(t *testing.T) {
	g := brokertest.NewGitHub(t)
	s := &stuck{Store: g.Store}
	b := newReplicaOn(g, s)
	b.MustToken("sb-1", "acme/widgets", "read")
	for _, fails := range []bool{true, false, true} {
		s.fails.Store(fails)
		want := http.StatusOK
		if fails {
			want = http.StatusServiceUnavailable
		}
		wantCode(t, "the list", b.Do("night", "GET", api.WorkspacesPath, ""), want)
	}
}

const soon = 4 * time.Second // an unread answer may take five seconds

// unread requests a path over one HTTP/2 connection, times times, and reads no answer:
// its streams have windows of 0 bytes (RFC 9113, section 6.5.2).
func unread(t *testing.T, address, path string, times int) net.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) // the certificate is this test's
	if err != nil {
		t.Fatal(err)
	}
	frame := func(kind, flags byte, stream uint32, payload string) string {
		n := len(payload)
		return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}) + payload
	}
	const settings, headers, endAll = 4, 1, 1 | 4 // flags of the stream and of its headers
	// With HPACK's static table: GET, https, and a path and an authority as literals.
	fields := "\x82\x87\x04" + string(byte(len(path))) + path + "\x01\x06broker"
	said := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0, "\x00\x04\x00\x00\x00\x00")
	for i := range times {
		said += frame(headers, endAll, uint32(2*i+1), fields)
	}
	if _, err := io.WriteString(c, said); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, c) }() // everything except data of streams
	return c
}

// Clients that do not read answers do not block everyone else.
func TestUnreadAnswersAreNotInTheWay(t *testing.T) {
	const limit = 128
	for _, path := range []string{PagePath, stylePath, api.OpenAPIPath, loginPath, api.NoncePath, "/nowhere"} {
		b := newBench(t)
		var come atomic.Int64
		counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			come.Add(1)
			b.Handler().ServeHTTP(w, r)
		})
		s := httptest.NewUnstartedServer(broker.Gated(func() int { return limit }, nil, counted))
		s.EnableHTTP2 = true
		s.StartTLS()
		for range 2 {
			c := unread(t, s.Listener.Addr().String(), path, limit)
			defer c.Close()
		}
		for begun := time.Now(); come.Load() < limit && time.Since(begun) < time.Minute; {
			time.Sleep(10 * time.Millisecond)
		}
		begun := time.Now()
		code := 0
		for code = get(t, s, path); code == http.StatusTooManyRequests && time.Since(begun) < soon; code = get(t, s, path) {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(begun); code == http.StatusTooManyRequests || took > soon {
			t.Errorf("GET %s meanwhile is answered %d after %v, want it within %v", path, code, took, soon)
		}
		s.CloseClientConnections()
		s.Close()
	}
}

// get reads a whole answer and returns its status.
func get(t *testing.T, s *httptest.Server, path string) int {
	t.Helper()
	answer, err := s.Client().Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode
}
