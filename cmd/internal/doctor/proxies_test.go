package doctor_test

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/extbuild"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/freeport"
)

// behind is a gateway with TLS, with a session for the whole profile.
type behind struct {
	t       *testing.T
	server  *httptest.Server
	session string
	quiet   time.Duration
}

func newBehind(t *testing.T) *behind {
	t.Helper()
	b := brokertest.NewGateway(t, fakegithub.Options{RESTOnly: true}, `{allowedRepos: ["acme/*"]}`)
	settings := gateway.Settings{MaxPack: 64 << 20, IdleTimeout: time.Minute, Transfers: 8}
	g := gateway.New(b.Access, func() gateway.Settings { return settings }, rest.Options{})
	server := httptest.NewTLSServer(g.Handler(b.Access.Broker.Handler()))
	t.Cleanup(server.Close)
	return &behind{t, server, b.Session(""), 2 * time.Second}
}

// look returns the findings for the gateway at an address, as "LEVEL TEXT".
func (b *behind) look(address string) []string {
	b.t.Helper()
	ca := filepath.Join(b.t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.server.Certificate().Raw}), 0o600); err != nil {
		b.t.Fatal(err)
	}
	_, host, _ := strings.Cut(address, "://")
	p := doctor.Proxies{
		Gateway: address, Host: host, Session: credential.NewToken(b.session, time.Now().Add(time.Hour)), CAFile: ca,
		Quiet: b.quiet, Pause: 2 * time.Second,
	}
	var lines []string
	for _, f := range p.Look(b.t.Context()) {
		if f.Group != "between here and the gateway" || f.Level != doctor.OK && f.Fix == "" || strings.Contains(f.Text, b.session) {
			b.t.Errorf("finding %+v: want its group, what mends it, and no session", f)
		}
		lines = append(lines, string(f.Level)+" "+f.Text)
	}
	return lines
}

// want compares the findings, each by the start of its line.
func want(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) || slices.ContainsFunc(want, func(text string) bool {
		return !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, text) })
	}) {
		t.Errorf("the findings are\n%s\nwant these:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var inOrder = []string{
	"ok requests reach the broker as HTTP/1.1, with their headers", "ok requests reach the broker with the name", "ok paths arrive without a change",
	"ok a push of 3 MiB in chunks arrives immediately", "ok answers arrive immediately", "is not cut",
}

// otherHelpers returns inOrder with some lines replaced.
func otherHelpers(lines map[int]string) []string {
	all := slices.Clone(inOrder)
	for i, line := range lines {
		all[i] = line
	}
	return all
}

func TestNothingBeforeTheGateway(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	want(t, b.look(b.server.URL), inOrder)
	b.session = "gpg_another"
	want(t, b.look(b.server.URL), []string{"failure the broker does not know the session, or a proxy removed the header Authorization"})
	want(t, b.look("https://127.0.0.1:1"), []string{"failure no request reaches the gateway: it was cut after 0s"})
}

// Each row breaks requests or answers in one way.
func TestProxiesBeforeTheGateway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(pass http.Handler) http.HandlerFunc
		want  []string
	}{
		"a login of its own": {func(pass http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Authorization"); pass.ServeHTTP(w, r) }
		}, []string{"failure the broker does not know the session"}},
		"another site": {func(http.Handler) http.HandlerFunc { return http.NotFound }, []string{"failure https://127.0.0.1"}},
		"no Git-Protocol": {func(pass http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Git-Protocol"); pass.ServeHTTP(w, r) }
		}, otherHelpers(map[int]string{0: "warning the header Git-Protocol does not reach the broker"})},
		"no chunks": {func(pass http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.ContentLength < 0 {
					w.WriteHeader(http.StatusLengthRequired)
					return
				}
				pass.ServeHTTP(w, r)
			}
		}, otherHelpers(map[int]string{3: "failure requests without a length are refused: a proxy answers 411"})},
		"a balancer that is impatient": {func(pass http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.RawQuery, "quiet") {
					time.Sleep(time.Second)
					panic(http.ErrAbortHandler)
				}
				pass.ServeHTTP(w, r)
			}
		}, otherHelpers(map[int]string{5: "failure a silence of 2s is cut: it was cut after"})},
		"one that keeps requests and answers": {func(pass http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				kept := httptest.NewRecorder()
				pass.ServeHTTP(kept, r)
				for name, values := range kept.Header() {
					w.Header()[name] = values
				}
				w.WriteHeader(kept.Code)
				_, _ = w.Write(kept.Body.Bytes())
			}
		}, otherHelpers(map[int]string{3: "warning a proxy buffers a whole push: it needs space for packs, and a long push looks idle", 4: "warning a proxy buffers answers, so git shows no progress and the gateway's keepalives do not arrive"})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBehind(t)
			u, _ := url.Parse(b.server.URL)
			pass := &httputil.ReverseProxy{
				Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host },
				Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, FlushInterval: -1, //nolint:gosec // its own server
			}
			front := httptest.NewTLSServer(c.spoil(pass)) // with the certificate of the other server
			t.Cleanup(front.Close)
			want(t, b.look(front.URL), c.want)
		})
	}
}

// nginx is the usual proxy. The documented settings are all that it needs; without them
// it breaks everything but the headers.
func TestNginxBeforeTheGateway(t *testing.T) {
	if os.Getenv("GATEPASS_TEST_CLIENTS") == "" {
		t.Skip("missing: nginx; it is there in make test-real")
	}
	program, err := extbuild.Nginx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```nginx\n")
	documented, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/gateway.md has no block of nginx")
	}
	for name, c := range map[string]struct {
		location string
		want     []string
	}{
		"as it is": {"proxy_pass https://BROKER/; proxy_read_timeout 3s;", []string{
			"ok requests reach the broker", "warning requests reach the broker with the name", "warning a proxy changes paths: /a%2Fb/c%20d arrives as /a/b/c%20d",
			"failure a push of 3 MiB is too large: a proxy (nginx/", "warning a proxy buffers answers, so git shows no progress and the gateway's keepalives do not arrive", "failure a silence of 4s is cut: a proxy (nginx/",
		}},
		"with room for bodies only": {"proxy_pass https://BROKER; proxy_set_header Host $http_host; client_max_body_size 0;", otherHelpers(map[int]string{
			0: "ok requests reach the broker", 3: "warning a proxy buffers a whole push: it needs space for packs, and a long push looks idle", 4: "warning a proxy buffers answers, so git shows no progress and the gateway's keepalives do not arrive",
		})},
		"as documented": {documented, inOrder},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBehind(t)
			b.quiet = 4 * time.Second
			want(t, b.look(startNginx(t, program, strings.ReplaceAll(c.location, "BROKER", b.server.Listener.Addr().String()))), c.want)
		})
	}
}

// startNginx starts nginx with the settings of its location, and returns its URL.
func startNginx(t *testing.T, program, location string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nginx-") // its workers run as another user, who may not enter a folder of the test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf(`daemon off; user %s; pid nginx.pid; error_log stderr; events {}
http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
server { listen %s; location / { %s } } }`, self.Username, address, location)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-c", "nginx.conf", "-e", "stderr")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // its workers end with it
		_ = cmd.Wait()
	})
	for range 100 {
		if response, err := http.Get("http://" + address + "/readyz"); err == nil {
			response.Body.Close()
			return "http://" + address
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("nginx does not answer: %.500s", said.String())
	return ""
}
