//go:build linux

package serve

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/audit"
)

// do sends a request to the broker's socket.
func (w *world) do(method, path, body string, headers ...string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://broker"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.path("broker.sock"))
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// From the configuration to a revoked token, with the real program: by an operator on
// the socket, and by GitHub.
func TestOperatorsAndWebhooks(t *testing.T) {
	const secret = "webhook-secret-0123456789"
	w := newWorld(t)
	w.addApp(2)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	if status, _ := w.do("GET", "/v1/workspaces", ""); status != 403 {
		t.Errorf("without operators: %d, want 403", status)
	}
	if status, _ := w.do("POST", "/v1/webhooks/github", "{}"); status != 404 {
		t.Errorf("without a webhook: %d, want 404", status)
	}
	w.write("secret", secret+"\n")
	w.write("broker.yaml", testConfig+fmt.Sprintf("operators: [{name: me, socket: {uid: %d}}]\nwebhook: {secret_file: %s}\n", os.Getuid(), w.path("secret")))
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until("in its second generation", func() bool { return w.ready().Generation == 2 })
	for _, repo := range []string{"acme/r0", "acme/r1"} {
		if got := w.token(repo, "write"); got.status != 200 {
			t.Fatalf("a token: %d %s", got.status, got.body)
		}
	}
	if status, body := w.do("GET", "/v1/workspaces", ""); status != 200 || strings.Count(body, `"kind":"vended"`) != 2 || !strings.Contains(body, `"profile":"agent"`) {
		t.Errorf("the workspaces: %d %s, want sb-1 with two tokens", status, body)
	}
	if status, body := w.do("GET", "/v1/explain?host=github.com&repo=acme/r0&operation=write", ""); status != 200 || !strings.Contains(body, `"granted":true`) {
		t.Errorf("explain: %d %s", status, body)
	}
	if status, body := w.do("GET", "/", ""); status != 200 || !strings.Contains(body, "sb-1") {
		t.Errorf("the page to who is an operator by the socket: %d %s", status, body)
	}
	body := `{"action":"removed","repositories_removed":[{"full_name":"acme/r1"}]}`
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	if status, answer := w.do("POST", "/v1/webhooks/github", body, "X-GitHub-Event", "installation_repositories", "X-GitHub-Delivery", "1", "X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil))); status != 204 {
		t.Errorf("a delivery: %d %s", status, answer)
	}
	if live := w.gh.Tokens(); len(live) != 1 || live[0].Repositories[0] != "acme/r0" {
		t.Errorf("after GitHub took acme/r1 away %+v is alive", live)
	}
	if status, body := w.do("POST", "/v1/kill", `{"app":true}`); status != 200 || len(w.gh.Tokens()) != 0 {
		t.Errorf("kill: %d %s, %d alive", status, body, len(w.gh.Tokens()))
	}
	if got := w.token("acme/r0", "read"); got.status != 403 {
		t.Errorf("afterwards: %d %s, want 403", got.status, got.body)
	}
	p.end(syscall.SIGTERM)
	log, err := os.ReadFile(w.path("audit.jsonl"))
	if err != nil || !strings.Contains(string(log), `"kind":"barred"`) || !strings.Contains(string(log), `"target":"everything of the App"`) || !strings.Contains(string(log), `"rule":"me"`) {
		t.Errorf("the audit log does not say who took everything: %v %s", err, log)
	}
	if r, err := audit.Verify(w.path("audit.jsonl")); err != nil || !r.IsWhole() {
		t.Errorf("Verify = %+v, %v", r, err)
	}
}
