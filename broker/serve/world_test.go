//go:build linux

package serve

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/testkey"
)

// asProgram makes this test binary run as gatepass-broker.
const asProgram = "GATEPASS_BROKER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// A world is a GitHub, a store with an App, and a configuration.
type world struct {
	t     *testing.T
	gh    *fakegithub.Server
	dir   string
	store store.Store
	env   []string
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey { return testkey.RSA(2048, 0) })

const testConfig = `listen: unix://@DIR@/broker.sock
store: file://@DIR@/store
github_url: @GITHUB@
hosts: [github.com]
audit: @DIR@/audit.jsonl
metrics: unix://@DIR@/metrics.sock
profiles: ["@DIR@/profiles/*.yaml"]
limits: {workspace_rate: 100000, workspace_burst: 100000}
callers:
  - socket: {uid: @UID@}
    workspace: sb-1
    profile: agent
`

const profile = "metadata: {name: agent}\nspec: {sourceAccess: {github: {allowedRepos: [\"acme/*\"], permissions: [push]}}}\n"

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "gpb") // short, because socket paths are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	gh, err := fakegithub.New(fakegithub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w := &world{t: t, gh: gh, dir: dir}
	w.write("ca.pem", string(gh.CAPEM()))
	w.write("profiles/agent.yaml", profile)
	w.write("broker.yaml", testConfig)
	w.env = []string{asProgram + "=1", "SSL_CERT_FILE=" + w.path("ca.pem"), "PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	if w.store, err = issuing.OpenStore("file://" + w.path("store")); err != nil {
		t.Fatal(err)
	}
	return w
}

// addApp sets the App up, with so many repositories of acme.
func (w *world) addApp(repositories int) {
	w.t.Helper()
	w.addAppAs(fakegithub.App{Slug: "gatepass"}, repositories)
}

func (w *world) addAppAs(app fakegithub.App, repositories int) {
	w.t.Helper()
	app.Keys, app.Permissions = []*rsa.PublicKey{&testKey().PublicKey}, fakegithub.Permissions{"contents": "write"}
	app, err := w.gh.AddApp(app)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range repositories {
		if _, err := w.gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: fmt.Sprint("r", i)}); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := w.gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"}); err != nil {
		w.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey())})
	w.put(store.PrivateKey(), string(text))
	w.put(store.AppClientID(), app.ClientID)
}

func (w *world) put(name store.Name, text string) {
	w.t.Helper()
	if err := w.store.Put(w.t.Context(), name, store.NewSecret(text), store.Replace); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// write writes a file, with @DIR@, @GITHUB@ and @UID@ filled in, at once.
func (w *world) write(name, text string) {
	w.t.Helper()
	text = strings.NewReplacer("@DIR@", w.dir, "@GITHUB@", w.gh.URL(), "@UID@", fmt.Sprint(os.Getuid())).Replace(text)
	path := w.path(name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path+".new", []byte(text), 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// A process is a running gatepass-broker.
type process struct {
	*exec.Cmd
	w    *world
	log  *lockedBuffer
	done chan struct{} // closed when it has ended
}

// lockedBuffer can be written and read concurrently.
type lockedBuffer struct {
	mu  sync.Mutex // guards the rest
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// command returns a command that runs the program with arguments.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env, cmd.Dir = w.env, w.dir
	return cmd
}

// start starts the broker and waits until it runs.
func (w *world) start() *process {
	w.t.Helper()
	p := w.launch()
	p.until("alive", func() bool { return w.get("metrics.sock", "/healthz").status == 200 })
	return p
}

func (w *world) launch() *process {
	w.t.Helper()
	p := &process{Cmd: w.command("--config", w.path("broker.yaml")), w: w, log: new(lockedBuffer), done: make(chan struct{})}
	p.Stderr = p.log
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // its status is in ProcessState
		close(p.done)
	}()
	w.t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.Process.Kill() // it may have ended already
	<-p.done
}

// end sends a signal and waits for the end.
func (p *process) end(s syscall.Signal) int {
	p.w.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.w.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.w.t.Fatalf("the broker does not end after %v: %s", s, p.log)
	}
	return p.ProcessState.ExitCode()
}

// until waits until isSo, for at most a minute.
func (p *process) until(what string, isSo func() bool) {
	p.w.t.Helper()
	for range 1200 {
		if isSo() {
			return
		}
		select {
		case <-p.done:
			if isSo() {
				return
			}
			p.w.t.Fatalf("the broker ended before it was %s: %s", what, p.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
	p.w.t.Fatalf("the broker is not %s: %s", what, p.log)
}

func overSocket(path string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
}

// An answer is the broker's answer; status is 0 without one.
type answer struct {
	status int
	body   string
	header http.Header
	err    error
}

func read(r *http.Response, err error) answer {
	if err != nil {
		return answer{err: err}
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return answer{r.StatusCode, string(body), r.Header, err}
}

func (w *world) get(socket, path string) answer {
	return read(overSocket(w.path(socket)).Get("http://broker" + path))
}

// token asks for a token as this process.
func (w *world) token(repo, operation string) answer {
	body := fmt.Sprintf(`{"host":"github.com","repo":%q,"operation":%q}`, repo, operation)
	return read(overSocket(w.path("broker.sock")).Post("http://broker/v1/token", "application/json", strings.NewReader(body)))
}

func (w *world) ready() (r readiness) {
	w.t.Helper()
	got := w.get("metrics.sock", "/readyz")
	if err := json.Unmarshal([]byte(got.body), &r); err != nil || r.Ready != (got.status == 200) {
		w.t.Fatalf("/readyz answers %d %s", got.status, got.body)
	}
	return r
}
