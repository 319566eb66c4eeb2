//go:build linux

package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/freeport"
)

// certify writes a certificate for 127.0.0.1, and returns a pool that trusts it.
func (w *world) certify(name string) *x509.CertPool {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	w.write("tls.crt", string(certificate))
	w.write("tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return pool
}

// A browser that is led to any answer of the broker, errors and refusals included, must
// not run it, frame it, guess its type or store it.
func TestEveryAnswerHasTheHeadersForBrowsers(t *testing.T) {
	w := newWorld(t)
	w.write("broker.yaml", strings.Replace(testConfig, "limits: {", "operators: [{name: me, socket: {uid: 4242}}]\nlimits: {", 1))
	p := w.start() // without an App
	long := strings.Repeat("x", 100_000)
	seen := map[int]bool{}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/healthz", ""},
		{"GET", "/readyz", ""},
		{"POST", "/healthz", ""},
		{"GET", "/nothing", ""},
		{"GET", "//", ""},
		{"GET", "/v1/../x", ""},
		{"GET", "/", ""},
		{"GET", "/console/style.css", ""},
		{"POST", "/console/login", "token=x"},
		{"POST", "/console/logout", ""},
		{"GET", "/console/revoke?kind=app", ""},
		{"POST", "/console/revoke", "kind=app"},
		{"POST", "/console/unblock", "kind=app"},
		{"POST", "/console/admit", "kind=app"},
		{"PUT", "/console/login", ""},
		{"POST", "/v1/token", `{"host":"github.com","repo":"acme/r0","operation":"read"}`},
		{"POST", "/v1/token", long},
		{"POST", "/v1/token", "{"},
		{"DELETE", "/v1/token", ""},
		{"POST", "/v1/git-credentials", "x"},
		{"POST", "/v1/git-credentials", long},
		{"POST", "/v1/refused-pushes", "{}"},
		{"POST", "/v1/exchange", "{}"},
		{"GET", "/v1/exchange", ""},
		{"GET", "/v1/nonce", ""},
		{"GET", "/v1/workspaces", ""},
		{"POST", "/v1/workspaces/sb-1/revoke", ""},
		{"DELETE", "/v1/workspaces/sb-1/block", ""},
		{"DELETE", "/v1/workspaces/sb-1/bar", ""},
		{"POST", "/v1/kill", "{}"},
		{"POST", "/v1/unblock", "{}"},
		{"POST", "/v1/admit", "{}"},
		{"GET", "/v1/explain?host=github.com&repo=acme/r0", ""},
		{"POST", "/v1/explain", "{}"},
		{"POST", "/v1/webhooks/github", "{}"},
		{"GET", "/v1/openapi.json", ""},
		{"OPTIONS", "/*", ""}, // is sent as "OPTIONS *"
	} {
		for _, socket := range []string{"broker.sock", "metrics.sock"} {
			client := overSocket(w.path(socket))
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			ask := func() answer {
				r, err := http.NewRequestWithContext(t.Context(), c.method, "http://broker"+c.path, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				if c.path == "/*" {
					r.URL.Opaque = "*"
				}
				return read(client.Do(r))
			}
			got := ask()
			// The answer to a body that is too long may come while the body is still
			// written.
			for try := 0; errors.Is(got.err, syscall.EPIPE) && try < 50; try++ {
				got = ask()
			}
			if got.err != nil {
				t.Fatal(got.err)
			}
			seen[got.status] = true
			for _, name := range []string{"Cache-Control", "Content-Security-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Referrer-Policy", "X-Content-Type-Options", "X-Frame-Options"} {
				if got.header.Get(name) == "" {
					t.Errorf("%s: %s %s answers %d without %s", socket, c.method, c.path, got.status, name)
				}
			}
		}
	}
	for _, status := range []int{200, 401, 403, 404, 405, 413, 503} {
		if !seen[status] {
			t.Errorf("nothing was answered %d", status)
		}
	}
	p.end(syscall.SIGTERM)
}

// freePort returns a port that no server listens on.
func freePort(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func overTLS(pool *x509.CertPool, most uint16) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: most}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
	}}
}

// If a proxy handles HTTP/2 badly, the configuration disables it, and a reload is
// enough.
func TestWithoutHTTP2(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	address, pool := freePort(t), w.certify("one")
	config := strings.Replace(testConfig, "listen: unix://@DIR@/broker.sock", "listen: [https://"+address+", unix://@DIR@/broker.sock]\ntls: {cert_file: @DIR@/tls.crt, key_file: @DIR@/tls.key}\ngateway: {http2: false}", 1)
	w.write("broker.yaml", config)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	major := func() int {
		r, err := overTLS(pool, 0).Get("https://" + address + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		return r.ProtoMajor
	}
	if got := major(); got != 1 {
		t.Errorf("the answer came over HTTP/%d, want 1", got)
	}
	w.write("broker.yaml", strings.Replace(config, "{http2: false}", "{}", 1))
	p.until("offering HTTP/2", func() bool { return major() == 2 })
	p.end(syscall.SIGTERM)
}

func TestHTTPS(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	address := freePort(t)
	pool := w.certify("one")
	w.write("broker.yaml", strings.Replace(testConfig, "listen: unix://@DIR@/broker.sock", "listen: [https://"+address+", unix://@DIR@/broker.sock]\ntls: {cert_file: @DIR@/tls.crt, key_file: @DIR@/tls.key}", 1))
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	r, err := overTLS(pool, 0).Get("https://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.ProtoMajor != 2 || r.TLS.Version != tls.VersionTLS13 {
		t.Errorf("the answer came over HTTP/%d with TLS %x, want 2 with 1.3", r.ProtoMajor, r.TLS.Version)
	}
	if _, err := overTLS(pool, tls.VersionTLS11).Get("https://" + address + "/healthz"); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	got := read(overTLS(pool, 0).Post("https://"+address+"/v1/token", "application/json", strings.NewReader(`{"host":"github.com","repo":"acme/r0","operation":"read"}`)))
	if got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), "Bearer") || strings.Contains(got.body, "ghs_") {
		t.Errorf("over https without an identity: %d %s", got.status, got.body)
	}
	if got := w.token("acme/r0", "read"); got.status != 200 {
		t.Errorf("on the socket beside it: %d %s", got.status, got.body)
	}
	renewed := w.certify("two")
	p.until("showing the renewed certificate", func() bool {
		return read(overTLS(renewed, 0).Get("https://"+address+"/healthz")).status == 200
	})
	w.write("tls.crt", "half")
	time.Sleep(1100 * time.Millisecond)
	if got := read(overTLS(renewed, 0).Get("https://" + address + "/healthz")); got.status != 200 {
		t.Errorf("with half a certificate in the file: %v", got.err)
	}
	p.end(syscall.SIGTERM)
}

// systemd opens the socket, and is told when the broker is ready and when it ends.
func TestUnderSystemd(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: w.path("broker.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	said := func() string {
		_ = notify.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 100)
		n, err := notify.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	// The request comes before the broker runs.
	early := make(chan answer, 1)
	go func() { early <- w.token("acme/r0", "read") }()
	p := &process{Cmd: exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", os.Args[0], "--config", w.path("broker.yaml")), w: w, log: new(lockedBuffer), done: make(chan struct{})}
	p.Env = append(w.env, "LISTEN_FDS=1", "LISTEN_FDNAMES=gatepass-broker.socket", "NOTIFY_SOCKET="+w.path("notify"))
	p.Stderr, p.ExtraFiles = p.log, []*os.File{f}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.Wait(); close(p.done) }()
	t.Cleanup(p.kill)
	if got := said(); got != "READY=1" {
		t.Errorf("systemd is told %q", got)
	}
	if got := <-early; got.status != 200 {
		t.Errorf("the request that was early: %d %s %v", got.status, got.body, got.err)
	}
	p.end(syscall.SIGTERM)
	if got := said(); got != "STOPPING=1" {
		t.Errorf("systemd is told %q", got)
	}
	if _, err := os.Stat(w.path("broker.sock")); err != nil {
		t.Error("the broker removed systemd's socket")
	}
}

func TestAWorkspaceThatAsksTooOften(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	w.write("broker.yaml", strings.Replace(testConfig, "{workspace_rate: 100000, workspace_burst: 100000}", "{workspace_rate: 0.1, workspace_burst: 2}", 1))
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	for range 2 {
		if got := w.token("acme/r0", "read"); got.status != 200 {
			t.Fatalf("within the limit: %d %s", got.status, got.body)
		}
	}
	if got := w.token("acme/r0", "read"); got.status != 429 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "sends more than") {
		t.Errorf("beyond it: %d %s", got.status, got.body)
	}
	w.write("broker.yaml", testConfig)
	p.until("under its new limits", func() bool { return w.token("acme/r0", "read").status == 200 })
}

// Spans and copies of the audit log are sent to their places, without a secret.
func TestTelemetry(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	var mu sync.Mutex
	bodies := map[string]string{}
	collector := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies[r.URL.Path+" "+r.Header.Get("Content-Type")] += string(body) + "\n"
	}))
	defer collector.Close()
	w.env = append(w.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	w.write("broker.yaml", strings.Replace(testConfig, "audit: @DIR@/audit.jsonl", "audit: {file: @DIR@/audit.jsonl, cloudevents: "+collector.URL+"/events, otlp: "+collector.URL+"/v1/logs}", 1))
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	if got := w.token("acme/r0", "read"); got.status != 200 {
		t.Fatalf("a token: %d %s", got.status, got.body)
	}
	p.end(syscall.SIGTERM)
	for kind, want := range map[string][]string{
		"/events application/cloudevents+json; charset=utf-8": {`"specversion":"1.0"`, `"type":"dev.gatepass.audit.minted"`, `"type":"dev.gatepass.audit.request","subject":"sb-1"`},
		"/v1/logs application/x-protobuf":                     {`"kind":"request"`, "gatepass.audit.hash"},
		"/v1/traces application/x-protobuf":                   {"/v1/token", "mint", "gatepass.hashed_token"},
	} {
		for _, text := range want {
			if !strings.Contains(bodies[kind], text) {
				t.Errorf("%s has no %s: %s", kind, text, bodies[kind])
			}
		}
		if strings.Contains(bodies[kind], "ghs_") {
			t.Errorf("%s has a token", kind)
		}
	}
}

func TestPprofIsForItsOwnerAlone(t *testing.T) {
	w := newWorld(t)
	w.write("broker.yaml", testConfig+"pprof: unix://@DIR@/pprof.sock\n")
	w.start()
	if got := w.get("pprof.sock", "/debug/pprof/cmdline"); got.status != 200 {
		t.Errorf("pprof answers %d %v", got.status, got.err)
	}
	for socket, want := range map[string]os.FileMode{"pprof.sock": 0o600, "metrics.sock": 0o600, "broker.sock": 0o660} {
		if info, err := os.Stat(w.path(socket)); err != nil || info.Mode().Perm() != want {
			t.Errorf("the mode of %s is %v, %v, want %v", socket, info.Mode(), err, want)
		}
	}
	for _, socket := range []string{"broker.sock", "metrics.sock"} {
		if got := w.get(socket, "/debug/pprof/cmdline"); got.status != 404 {
			t.Errorf("%s serves profiles: %d", socket, got.status)
		}
	}
}

func TestCheck(t *testing.T) {
	w := newWorld(t)
	check := func() (string, bool) {
		out, err := w.command("--check", "--config", w.path("broker.yaml")).CombinedOutput()
		return string(out), err == nil
	}
	if out, good := check(); !good || !strings.Contains(out, "rules: 1, profiles: 1") {
		t.Errorf("--check says %s", out)
	}
	w.write("broker.yaml", testConfig+"  - oidc: {issuer: https://issuer.example, audience: gatepass, single_use: true}\n    workspace: once\n    profile: agent\n")
	if out, good := check(); !good || !strings.Contains(out, "rules: 2, profiles: 1") {
		t.Errorf("with single_use, --check says %s", out)
	}
	w.write("profiles/other.yaml", "apiVersion: klankermaker.ai/v1alpha1\nkind: SandboxProfile\nmetadata: {name: other}\nspec: {runtime: {}, sourceAccess: {mode: none}}\n")
	if out, good := check(); !good || !strings.Contains(out, "warning: profile other: ignored, because gatepass reads only spec.sourceAccess: spec.runtime\n") {
		t.Errorf("with a profile of another system, --check says %s", out)
	}
	if err := os.Remove(w.path("profiles/other.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, replacement, want string }{
		{"listen: unix://@DIR@/broker.sock", "listen: http://0.0.0.0:80", "would send tokens in the clear"},
		{"listen: unix://@DIR@/broker.sock", "listen: https://0.0.0.0:8443", "https needs cert_file"},
		{"listen: unix://@DIR@/broker.sock", "listen: https://0.0.0.0:8443\ntls: {cert_file: /nowhere, key_file: /nowhere}", "read the certificate /nowhere"},
		{"profile: agent", "profile: other", `there is no profile "other"`},
		{"store: file://@DIR@/store", "store: ftp://x", "unknown store ftp://"},
		{"@DIR@/audit.jsonl", "@DIR@/none/audit.jsonl", "its directory does not exist"},
		{"workspace_rate", "workspace_rat", "unknown key"},
		{"workspace: sb-1", "workspace: \"{claim.uid}-{claim.gid}{claim.pid}\"", "are adjacent"},
		{"socket: {uid: @UID@}\n    workspace: sb-1", "oidc: {issuer: https://issuer.example, audience: gatepass}\n    workspace: \"{claim.a}-{claim.b}\"", "claim a may contain \"-\""},
		{"metrics: unix://@DIR@/metrics.sock", "metrics: 9465", "want HOST:PORT"},
		{"metrics: unix://@DIR@/metrics.sock", "pprof: 127.0.0.1:6060", "must be a socket"},
	} {
		w.write("broker.yaml", strings.Replace(testConfig, c.old, c.replacement, 1))
		if out, good := check(); good || !strings.Contains(out, c.want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: --check says %s, want one line with %q", c.replacement, out, c.want)
		}
	}
	if _, err := os.Stat(w.path("audit.jsonl")); err == nil {
		t.Error("--check writes an audit log")
	}
}
