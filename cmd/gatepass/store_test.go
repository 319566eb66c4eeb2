package main

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// A storeWorld is an appWorld with a store that the commands use.
type storeWorld struct {
	*appWorld
	t     *testing.T
	store store.Store
}

// newStoreWorld has the App of an organization, which is installed nowhere yet, and an
// empty store.
func newStoreWorld(t *testing.T) *storeWorld {
	t.Helper()
	w := &storeWorld{appWorld: newAppWorld(t), t: t}
	url := "file://" + t.TempDir() + "/store"
	var err error
	if w.store, err = issuing.OpenStore(url); err != nil {
		t.Fatal(err)
	}
	w.variables = append(w.variables, "GATEPASS_STORE="+url)
	return w
}

// install installs the App with an id that the test chooses.
func (w *storeWorld) install(login string, id int64) {
	w.t.Helper()
	if _, err := w.AddInstallation(fakegithub.Installation{
		ID: id, AppID: w.app.ID, Account: login, AccountType: fakegithub.Organization, RepositorySelection: "all",
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *storeWorld) put(entries map[string]string) {
	w.t.Helper()
	for text, value := range entries {
		name, err := store.ParseName("config/github/" + text)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.store.Put(w.t.Context(), name, store.NewSecret(value), store.Replace); err != nil {
			w.t.Fatal(err)
		}
	}
}

// kept returns the store's content, without the key's text.
func (w *storeWorld) kept() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for name, err := range w.store.List(w.t.Context(), store.Everything()) {
		if err != nil {
			w.t.Fatal(err)
		}
		e, err := w.store.Get(w.t.Context(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		value := e.Value.Reveal()
		if strings.HasPrefix(value, "-----BEGIN") {
			value = "PEM"
		}
		all[strings.TrimPrefix(name.String(), "config/github/")] = value
	}
	return all
}

func (w *storeWorld) wants(what string, want map[string]string) {
	w.t.Helper()
	if got := w.kept(); !maps.Equal(got, want) {
		w.t.Errorf("%s: the store has %v, want %v", what, got, want)
	}
}

// add sets the App up, which most tests need.
func (w *storeWorld) add() {
	w.t.Helper()
	if out, errs, status := w.run(w.t, "app", "add", "--non-interactive", "--app-client-id", w.app.ClientID, "--private-key-file", w.key); status != 0 {
		w.t.Fatalf("app add = %d, %q, %q, want 0", status, out, errs)
	}
}

// a refusal is a command line that must fail with one line and change nothing.
type refusal struct {
	name   string
	args   []string
	status int
	want   string
}

func (w *storeWorld) refuses(command string, cases []refusal) {
	w.t.Helper()
	before := w.kept()
	for _, c := range cases {
		out, errs, status := w.run(w.t, append([]string{"app", command}, c.args...)...)
		if status != c.status || out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "gatepass: ") || !strings.Contains(errs, c.want) {
			w.t.Errorf("%s: app %s = %d, %q, %q, want %d and one line with %q", c.name, command, status, out, errs, c.status, c.want)
		}
		if strings.Contains(errs, "eyJ") || strings.Contains(errs, "PRIVATE KEY") {
			w.t.Errorf("%s: %q shows a secret", c.name, errs)
		}
		w.wants(c.name, before)
	}
}

// squeezed returns the lines of output, with one space between columns.
func squeezed(out string) []string {
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func decode[T any](t *testing.T, out string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return v
}

// tunnel is a proxy like those of companies: it allows CONNECT, and connects every name
// to the double.
type tunnel struct {
	to    string // host:port of the double
	calls atomic.Int64
}

func (p *tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	p.calls.Add(1)
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(far, buffered) }()
	_, _ = io.Copy(near, far)
}

// An Enterprise Server behind a proxy, with a certificate of a private authority:
// SSL_CERT_FILE and HTTPS_PROXY are enough.
func TestAPrivateAuthorityAndAProxy(t *testing.T) {
	t.Parallel() // it waits
	w := newAppWorld(t)
	p := &tunnel{to: w.Host()}
	proxy := httptest.NewServer(p)
	t.Cleanup(proxy.Close)
	_, port, err := net.SplitHostPort(w.Host())
	if err != nil {
		t.Fatal(err)
	}
	// Go uses no proxy for this machine's own addresses, so the server needs another
	// name: with a dot at the end, which the certificate allows.
	w.variables = []string{"HTTPS_PROXY=" + proxy.URL, "GATEPASS_GITHUB_URL=https://localhost.:" + port}
	args := []string{"--app-client-id", w.app.ClientID, "--private-key-file", w.key}
	out, errs, status := w.check(t, args...)
	if status != 0 || p.calls.Load() == 0 || !strings.Contains(out, "the key belongs to the App") {
		t.Errorf("check through a proxy = %d, %q, %q after %d calls of the proxy, want the App", status, out, errs, p.calls.Load())
	}
	w.ca = "/dev/null"
	if _, errs, status := w.check(t, args...); status != 1 || !strings.Contains(errs, "certificate") {
		t.Errorf("check without the authority = %d, %q, want a refusal of the certificate", status, errs)
	}
}

// From an App's key to a destroyed workspace, with a store in Kubernetes.
func TestRealKubernetesStore(t *testing.T) {
	c := kubernetestest.New(t)
	w := &issuingWorld{appWorld: newAppWorld(t), t: t, dir: t.TempDir()}
	w.write("profile.yaml", profileText)
	for _, owner := range []string{"acme", "octo"} {
		if _, err := w.AddRepository(fakegithub.Repository{Owner: owner, Name: "widgets"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: owner, RepositorySelection: "all"}); err != nil {
			t.Fatal(err)
		}
	}
	url := "kubernetes://" + c.Namespace() + "/team"
	w.variables = append(w.variables, "LANG=C.UTF-8", "GATEPASS_DOCTOR_TIMEOUT=30s", "GATEPASS_GITHUB_URL="+w.URL(), "GATEPASS_STORE="+url, "KUBECONFIG="+c.Kubeconfig)

	w.do("app", "add", "--app-client-id", w.app.ClientID, "--private-key-file", w.key)
	w.do("workspace", "create", "profile.yaml", "--id", "sb-1")
	if live := w.Tokens(); len(live) != 2 {
		t.Errorf("%d tokens are alive, want one for each owner", len(live))
	}
	if out := w.do("doctor", "--side", "issuing"); !strings.Contains(out, "the store "+url) || !strings.HasSuffix(out, "everything is in order\n") {
		t.Errorf("doctor prints\n%s", out)
	}
	_, errs, status := w.gatepass("workspace", "create", "profile.yaml", "--id", "sb-2", "--policy-out", "w.yaml")
	if status == 0 || !strings.Contains(errs, "--source broker+https://") {
		t.Errorf("create --policy-out = %d, %q, want that a source is named", status, errs)
	}
	w.do("workspace", "refresh", "sb-1", "--force", "--revoke")
	w.do("workspace", "destroy", "sb-1")
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive after destroy, want none", len(live))
	}
	t.Setenv("KUBECONFIG", c.Kubeconfig)
	s, err := issuing.OpenStore(url)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for n, err := range s.List(t.Context(), store.Everything()) {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, n.String())
	}
	slices.Sort(left)
	want := []string{"config/github/app-client-id", "config/github/github-url", "config/github/installations/acme", "config/github/installations/octo", "config/github/private-key"}
	if !slices.Equal(left, want) {
		t.Errorf("the store has %q, want %q", left, want)
	}
	if err := issuing.Probe(t.Context(), s); err != nil {
		t.Errorf("Probe = %v", err)
	}
}
