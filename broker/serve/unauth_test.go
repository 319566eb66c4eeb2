//go:build linux

package serve

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/broker/revoke"
)

// A caller without identity chooses path, query, host, headers and body. Whatever they
// are, and however many requests come, the audit log gets few, short lines, stays
// writable, and shows operators what others asked.
func TestStrangersNeitherFillNorBlindTheAuditLog(t *testing.T) {
	const burst = 10
	w := newWorld(t)
	w.addApp(1)
	text := strings.ReplaceAll(testConfig, "@UID@", "4294967294")
	text = strings.Replace(text, "limits: {", "limits: {stranger_rate: 0.000001, stranger_burst: 10, ", 1)
	w.write("broker.yaml", text+"operators:\n  - {name: night, token_sha256: \""+strings.Repeat("ab", 32)+"\"}\n")
	p := w.start()
	client := overSocket(w.path("broker.sock"))
	begun := len(w.auditLines())
	long := strings.Repeat("<\"%E2%80%AE", 150)
	for _, path := range []string{
		api.WorkspacesPath + "/" + long + "/revoke", api.WorkspacesPath + "/" + long + "/block", api.WorkspacesPath + "/" + long + "/bar", api.WorkspacesPath,
		api.TokenPath, broker.CredentialsPath, api.RefusedPushesPath, api.ExchangePath, api.NoncePath, api.KillPath, api.UnblockPath, api.AdmitPath, api.ExplainPath, revoke.WebhookPath, api.OpenAPIPath, "/", "/console/style.css",
		"/console/login", "/console/logout", "/console/revoke", "/console/entry", "/console/unblock", "/console/admit", "/healthz", "/readyz", "/" + long,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, "<" + strings.Repeat("X", 1000)} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+strings.Repeat("h", 500)+path+"?q="+long, strings.NewReader("token="+long))
			if err != nil {
				t.Fatal(err)
			}
			r.Method = strings.TrimPrefix(method, "<")
			for name, value := range map[string]string{
				"User-Agent": long, "X-Request-Id": long, "X-GitHub-Event": long, "Authorization": "Bearer " + long, "Content-Type": "application/x-www-form-urlencoded",
				"Sec-Fetch-Site": "same-origin", "Cookie": "gatepass-console=" + long, "X-Forwarded-For": long,
			} {
				r.Header.Set(name, value)
			}
			got := read(client.Do(r))
			if errors.Is(got.err, syscall.EPIPE) || errors.Is(got.err, syscall.ECONNRESET) {
				continue // the broker answered before it had the whole request, and the answer was lost
			}
			if got.err != nil || got.status == http.StatusServiceUnavailable || got.status == http.StatusOK && strings.Contains(path, "revoke") {
				t.Errorf("%.20s %.40s: %d %.300s %v", method, path, got.status, got.body, got.err)
			}
		}
	}
	lines := w.auditLines()[begun:]
	for _, line := range lines {
		if len(line) > 1200 || bytes.Contains(line, []byte(audit.KindRecovered)) {
			t.Errorf("a line of %d bytes: %.300s", len(line), line)
		}
	}
	if len(lines) != burst {
		t.Errorf("strangers made %d lines, want %d", len(lines), burst)
	}
	if r := w.ready(); r.Parts["audit"] != ok {
		t.Errorf("the audit log is not ready: %+v", r)
	}
	if n := len(p.log.String()); n > 200<<10 {
		t.Errorf("the broker's own log has %d bytes", n)
	}
}

// auditLines returns the lines of the audit log, which must be valid.
func (w *world) auditLines() [][]byte {
	w.t.Helper()
	if _, err := audit.Verify(w.path("audit.jsonl")); err != nil {
		w.t.Error(err)
	}
	data, err := os.ReadFile(w.path("audit.jsonl"))
	if err != nil {
		w.t.Fatal(err)
	}
	return bytes.SplitAfter(bytes.TrimSuffix(data, []byte{'\n'}), []byte{'\n'})
}
