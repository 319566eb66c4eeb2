//go:build linux

package serve

import (
	"bytes"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func TestFromTheStartToTheEnd(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	got := w.token("acme/r0", "read")
	if got.status != 200 || !strings.Contains(got.body, `"token":"ghs_`) {
		t.Fatalf("a token: %d %s", got.status, got.body)
	}
	if got := w.token("globex/x", "read"); got.status != 403 || !strings.Contains(got.body, "does not allow globex/x") {
		t.Errorf("another's repository: %d %s", got.status, got.body)
	}
	metrics := w.get("metrics.sock", "/metrics").body
	for _, want := range []string{
		`gatepass_broker_requests_total{endpoint="token",method="socket",reason="",status="2xx"} 1`,
		"gatepass_broker_tokens_live 1", "gatepass_broker_ready 1", "gatepass_broker_config_generation 1", "gatepass_broker_github_rate_limit 5000",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("there is no %s", want)
		}
	}
	if got := w.get("broker.sock", "/metrics"); got.status != 404 {
		t.Errorf("workspaces see the metrics: %d", got.status)
	}
	if got := w.get("broker.sock", "/readyz"); got.status != 200 || strings.Contains(got.body, "audit_head") {
		t.Errorf("workspaces see %d %s, want no details", got.status, got.body)
	}
	if status := p.end(syscall.SIGTERM); status != 0 {
		t.Errorf("the exit status is %d: %s", status, p.log)
	}
	if _, err := os.Stat(w.path("broker.sock")); err == nil {
		t.Error("the socket is left behind")
	}
	r, err := audit.Verify(w.path("audit.jsonl"))
	if err != nil || r.Lines != 6 || !strings.Contains(p.log.String(), "head="+r.Head) {
		t.Errorf("Verify = %+v, %v, want head, configuration, intent, mint and two requests; the log: %s", r, err, p.log)
	}
	if log := p.log.String(); strings.Contains(log, "ghs_") || strings.Contains(log, "PRIVATE KEY") {
		t.Errorf("a secret is in the log: %s", log)
	}
}

// The broker starts before its App exists, says so, and finds it.
func TestAnAppThatComesLater(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for another look at the store")
	}
	w := newWorld(t)
	p := w.start()
	if r := w.ready(); r.Ready || r.Parts["app"] == ok || r.Parts["audit"] != ok || r.Parts["store"] != ok {
		t.Errorf("/readyz = %+v, want the App missing alone", r)
	}
	if got := w.token("acme/r0", "read"); got.status != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "the broker has no usable GitHub App; its operator must check the broker's log") {
		t.Errorf("without an App: %d %s", got.status, got.body)
	}
	w.addApp(1)
	p.until("ready", func() bool { return w.ready().Ready })
	p.until("answering", func() bool { return w.token("acme/r0", "read").status == 200 })
}

func TestReload(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for several reloads")
	}
	w := newWorld(t)
	w.addApp(2)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	first := w.ready()
	if got := w.token("acme/r0", "write"); got.status != 200 {
		t.Fatalf("a token: %d %s", got.status, got.body)
	}
	// A changed profile takes effect by itself.
	w.write("profiles/agent.yaml", strings.Replace(profile, "acme/*", "acme/r1", 1))
	p.until("in its second generation", func() bool { return w.ready().Generation == 2 })
	if got := w.token("acme/r0", "write"); got.status != 403 {
		t.Errorf("what the new profile does not allow: %d, although it is in memory", got.status)
	}
	// With a wrong file, the last good policy stays in force.
	w.write("broker.yaml", "listen: nowhere\n")
	p.until("saying that the file is bad", func() bool { return w.ready().Config != ok })
	if r := w.ready(); !r.Ready || r.Generation != 2 || r.Policy == first.Policy {
		t.Errorf("/readyz = %+v, want it ready in its second generation", r)
	}
	if got := w.token("acme/r1", "write"); got.status != 200 {
		t.Errorf("under the last good configuration: %d %s", got.status, got.body)
	}
	time.Sleep(2 * checkEvery)
	if n := strings.Count(p.log.String(), "the configuration is rejected"); n != 1 {
		t.Errorf("it is said %d times, want once: %s", n, p.log)
	}
	if m := w.get("metrics.sock", "/metrics").body; !strings.Contains(m, "gatepass_broker_config_last_reload_success 0") {
		t.Error("the metrics do not say it")
	}
	// SIGHUP reads at once.
	w.write("broker.yaml", testConfig+"hosts_are_not_a_key: 1\n")
	w.write("broker.yaml", strings.Replace(testConfig, "sb-1", "sb-2", 1))
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until("in its third generation", func() bool { return w.ready().Generation == 3 && w.ready().Config == ok })
	w.token("acme/r1", "read")
	if log, err := os.ReadFile(w.path("audit.jsonl")); err != nil || strings.Count(string(log), `"kind":"config"`) != 3 || !bytes.Contains(log, []byte(`"workspace":"sb-2"`)) {
		t.Errorf("the audit log has not each generation: %v %s", err, log)
	}
}

// When its file is renamed, the audit log continues in a new one by itself.
func TestTheAuditLogIsRotated(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	p := w.start()
	w.token("acme/r0", "read")
	if err := os.Rename(w.path("audit.jsonl"), w.path("audit.jsonl.1")); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until("writing another file", func() bool { _, err := os.Stat(w.path("audit.jsonl")); return err == nil })
	w.token("acme/r0", "read")
	p.end(syscall.SIGTERM)
	if r, err := audit.Verify(w.path("audit.jsonl.1"), w.path("audit.jsonl")); err != nil || !r.IsWhole() {
		t.Errorf("Verify = %+v, %v", r, err)
	}
}

// Running requests finish, and new ones are refused.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	w.gh.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.Slow(2*time.Second), 1)
	slow := make(chan answer, 1)
	go func() { slow <- w.token("acme/r0", "read") }()
	p.until("asking GitHub", func() bool { return w.mints() > 0 })
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.until("draining", func() bool { return !w.listens() })
	if got := w.token("acme/r0", "read"); got.err == nil {
		t.Errorf("a new request: %d %s, want it not taken", got.status, got.body)
	}
	if got := <-slow; got.status != 200 {
		t.Errorf("the running request: %d %s %v, want its token", got.status, got.body, got.err)
	}
	<-p.done
	if status := p.ProcessState.ExitCode(); status != 0 {
		t.Errorf("the exit status is %d", status)
	}
}

// A second signal cuts running requests off.
func TestASecondSignal(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	w.gh.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.Slow(time.Minute), 1)
	slow := make(chan answer, 1)
	go func() { slow <- w.token("acme/r0", "read") }()
	p.until("asking GitHub", func() bool { return w.mints() > 0 })
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.until("draining", func() bool { return strings.Contains(p.log.String(), "the broker stops after") })
	begun := time.Now()
	p.end(syscall.SIGINT)
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the end took %v", took)
	}
	if got := <-slow; got.err == nil {
		t.Errorf("the running request got %d", got.status)
	}
}

// listens reports whether the broker accepts connections.
func (w *world) listens() bool {
	c, err := net.Dial("unix", w.path("broker.sock"))
	if err != nil {
		return false
	}
	return c.Close() == nil
}

func (w *world) mints() int {
	return w.gh.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/access_tokens") })
}

// A revoked workspace is refused soon, also after a broker was killed, and its tokens end once
// the next broker takes the lease, which the killed one had for half a minute.
func TestRevokedThroughARestart(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the lease of a killed broker to end")
	}
	w := newWorld(t)
	w.addApp(2)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	for _, repo := range []string{"acme/r0", "acme/r1"} {
		if got := w.token(repo, "write"); got.status != 200 {
			t.Fatalf("a token: %d %s", got.status, got.body)
		}
	}
	blocks := &blocklist.List{Store: w.store}
	if err := blocks.Block(t.Context(), "sb-1"); err != nil { // as another replica does
		t.Fatal(err)
	}
	p.until("refusing it", func() bool { return w.token("acme/r0", "write").status == 403 })
	p.kill()
	p = w.start()
	if got := w.token("acme/r0", "write"); got.status != 403 || !strings.Contains(got.body, "sb-1 is blocked") {
		t.Errorf("after a restart: %d %s", got.status, got.body)
	}
	p.until("revoking what it had", func() bool { return len(w.gh.Tokens()) == 0 })
	p.end(syscall.SIGTERM)
	if _, err := audit.Verify(w.path("audit.jsonl")); err != nil {
		t.Error(err)
	}
}

// A broker that cannot read the block list gives nothing, says why in the log and at
// /readyz, and recovers by itself.
func TestAnUnreadableBlocklist(t *testing.T) {
	w := newWorld(t)
	w.addApp(2)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	if got := w.token("acme/r0", "write"); got.status != 200 {
		t.Fatalf("a token: %d %s", got.status, got.body)
	}
	minted := w.mints()
	if err := os.MkdirAll(w.path("store/broker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("store/broker/barred"), nil, 0o600); err != nil { // no longer a folder
		t.Fatal(err)
	}
	p.until("refusing", func() bool { return w.token("acme/r0", "write").status == 503 })
	got := w.token("acme/r1", "write")
	if got.status != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "block list") || w.mints() != minted {
		t.Errorf("a token: %d %v %s after %d mints, want 503 with Retry-After and nothing minted", got.status, got.header, got.body, w.mints())
	}
	p.until("not ready", func() bool { return !w.ready().Ready }) // an answer is cached for a second
	if ready := w.ready(); ready.Parts["blocklist"] == ok || ready.Parts["store"] != ok {
		t.Errorf("ready = %+v, want the blocklist named", ready)
	}
	m := w.get("metrics.sock", "/metrics").body
	for _, line := range []string{"gatepass_broker_blocklist_readable 0\n", `reason="store",status="5xx"}`} {
		if !strings.Contains(m, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if strings.Contains(m, "gatepass_broker_blocklist_read_failures_total 0\n") {
		t.Error("no reading is said to have failed")
	}
	if err := os.Remove(w.path("store/broker/barred")); err != nil {
		t.Fatal(err)
	}
	p.until("giving again", func() bool { return w.token("acme/r1", "write").status == 200 })
	p.end(syscall.SIGTERM)
	if log := p.log.String(); !strings.Contains(log, "the block list cannot be read; after one second without it, the broker refuses every request") || !strings.Contains(log, "can be read again") {
		t.Errorf("the log is %s", log)
	}
}

func TestTwoBrokersOfOneLog(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	w.write("other.yaml", strings.ReplaceAll(testConfig, ".sock", "2.sock"))
	out, err := w.command("--config", w.path("other.yaml")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another process writes it") {
		t.Errorf("a second broker: %v %s", err, out)
	}
	out, err = w.command("--config", w.path("broker.yaml")).CombinedOutput()
	if err == nil {
		t.Errorf("the same broker again: %s", out)
	}
	if got := w.get("metrics.sock", "/healthz"); got.status != 200 {
		t.Errorf("the first does not answer any more: %v", got.err)
	}
	p.end(syscall.SIGTERM)
}
