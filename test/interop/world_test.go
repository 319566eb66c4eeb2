// Package interop holds the git gateway against the git clients that people use: each
// clones, fetches and pushes through a real gateway over TLS, before the double of GitHub.
//
// The tests of git and go-git run in "make test"; those of other clients in "make
// test-real", which provides them.
package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// profile allows a workspace its own branches and new tags.
const profile = `{allowedRepos: ["acme/*"], allowedRefs: [{ref: "agent/{workspace}/**", allow: [create, update, force, delete]}, {ref: "refs/tags/v*", allow: [create]}]}`

// What a client is told of a refused push of main: the reason of the ref, and by
// side-band what is allowed.
const (
	reason  = "gatepass: no rule allows it (update)"
	allowed = "gatepass: allowed: agent/sb-agent/** (create, update, force, delete), refs/tags/v* (create)"
)

// A world is a gateway over TLS, before a double of GitHub, and a workspace's folder.
type world struct {
	*brokertest.Gateway
	t       *testing.T
	url     string // of the gateway
	ca      string // the file with the certificate that the gateway is trusted by
	home    string
	session string

	mu     sync.Mutex // guards the rest
	asked  []asked
	onPush func() // called while a push waits for its answer; nil for nothing
}

// asked is a request as a client sent it.
type asked struct{ protocol, method, path, version, encoding, length string }

func newWorld(t *testing.T) *world { return newWorldOver(t, true) }

func newWorldOver(t *testing.T, http2 bool) *world { return newWorldFor(t, http2, 64<<20) }

// newWorldFor takes packs of so many bytes.
func newWorldFor(t *testing.T, http2 bool, maxPack int64) *world {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("missing: git")
	}
	w := &world{Gateway: brokertest.NewGateway(t, fakegithub.Options{}, profile), t: t, home: t.TempDir()}
	settings := gateway.Settings{MaxPack: maxPack, IdleTimeout: time.Minute, Transfers: 8}
	g := gateway.New(w.Access, func() gateway.Settings { return settings }, rest.Options{})
	server := httptest.NewUnstartedServer(w.noting(g.Handler(w.Access.Broker.Handler())))
	server.EnableHTTP2 = http2
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}}
	server.StartTLS()
	t.Cleanup(server.Close)
	w.url, w.session = server.URL, w.Session("")
	w.ca = filepath.Join(w.home, "ca.pem")
	w.write(w.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate().Certificate[0]})))
	w.Advance(5 * time.Minute) // no token of this test is so new that GitHub may not know it
	return w
}

// certificate is the gateway's, for 127.0.0.1 and localhost. Clients trust it itself.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// noting writes down every request.
func (w *world) noting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		a := asked{r.Proto, r.Method, r.URL.Path, r.Header.Get("Git-Protocol"), r.Header.Get("Content-Encoding"), "known"}
		if r.ContentLength < 0 {
			a.length = "unknown"
		}
		w.mu.Lock()
		w.asked = append(w.asked, a)
		onPush := w.onPush
		w.mu.Unlock()
		if onPush != nil && isPush(a) {
			onPush()
		}
		next.ServeHTTP(rw, r)
	})
}

// sent are the requests that match.
func (w *world) sent(match func(asked) bool) (found []asked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.asked {
		if match(a) {
			found = append(found, a)
		}
	}
	return found
}

func isPush(a asked) bool {
	return a.method == http.MethodPost && strings.HasSuffix(a.path, "/git-receive-pack")
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// repo is the URL of a repository at the gateway.
func (w *world) repo(name string) string { return w.url + "/acme/" + name + ".git" }

// env is that of a workspace: no configuration but what a test gives.
func (w *world) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "GIT_SSL_CAINFO=" + w.ca,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"SESSION=" + w.session, "CA=" + w.ca,
	}
}

// run runs a program as the workspace, and returns what it printed and whether it exited
// with 0.
func (w *world) run(dir string, env []string, name string, args ...string) (string, bool) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(w.env(), env...)
	out, err := cmd.CombinedOutput()
	var lines []string
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.TrimRight(line, " \n")) // git fills lines with spaces
	}
	text := strings.Join(lines, "\n")
	if strings.Contains(text, "ghs_") {
		w.t.Errorf("%s %v prints a token of GitHub's: %s", name, args, text)
	}
	return text, err == nil
}

// local runs git in a clone for what needs no server.
func (w *world) local(dir string, args ...string) string {
	w.t.Helper()
	out, ok := w.run(dir, nil, "git", args...)
	if !ok {
		w.t.Fatalf("git %s: %s", strings.Join(args, " "), out)
	}
	return out
}

// commit makes a commit in a clone and returns it. Its file has the text.
func (w *world) commit(dir, file, text string) string {
	w.t.Helper()
	w.write(filepath.Join(dir, file), text)
	w.local(dir, "add", file)
	w.local(dir, "commit", "-q", "-m", "change "+file)
	return w.local(dir, "rev-parse", "HEAD")
}

// atGitHub runs git in a repository of GitHub's.
func (w *world) atGitHub(name string, stdin string, args ...string) string {
	w.t.Helper()
	repo, _ := w.Repository("acme", name)
	out, err := w.GitIn(w.t.Context(), repo, strings.NewReader(stdin), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// refs are those of a repository at GitHub, as "NAME OBJECT" lines.
func (w *world) refs(name string) string {
	return w.atGitHub(name, "", "for-each-ref", "--format=%(refname) %(objectname)")
}

// ref is the object that a ref of acme/NAME is at; "" for none.
func (w *world) ref(name, ref string) string {
	for line := range strings.Lines(w.refs(name)) {
		if object, ok := strings.CutPrefix(strings.TrimSpace(line), ref+" "); ok {
			return object
		}
	}
	return ""
}

// moveMain makes a commit on GitHub's main of acme/NAME.
func (w *world) moveMain(name string) string {
	w.t.Helper()
	commit := w.atGitHub(name, "", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit-tree", "-p", "main", "-m", "upstream", "main^{tree}")
	w.atGitHub(name, "", "update-ref", "refs/heads/main", commit)
	return commit
}

// pushesAtGitHub is how often GitHub was sent a push.
func (w *world) pushesAtGitHub() int {
	return w.Count(func(r fakegithub.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/git-receive-pack")
	})
}

// outcomes are what the audit log has of a ref, as "decision outcome".
func (w *world) outcomes(ref string) []string {
	var lines []string
	for _, e := range w.Journal.Of(broker.KindPush) {
		if e.Ref == ref {
			lines = append(lines, strings.TrimSpace(e.Decision+" "+e.Outcome))
		}
	}
	return lines
}

// add makes a repository acme/NAME that the tests may change.
func (w *world) add(name string) fakegithub.Repository {
	w.t.Helper()
	repo, err := w.AddRepository(fakegithub.Repository{Owner: "acme", Name: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return repo
}

// addEmpty makes a repository without a commit.
func (w *world) addEmpty(name string) {
	w.add(name)
	w.atGitHub(name, "", "update-ref", "-d", "refs/heads/main")
}

// addLarge makes a repository with n branches more than main.
func (w *world) addLarge(name string, n int) {
	dir, main := w.add(name).Dir, w.ref(name, "refs/heads/main")
	packed := "# pack-refs with: sorted\n"
	for i := range n {
		packed += fmt.Sprintf("%s refs/heads/many/branch-%05d\n", main, i)
	}
	w.write(filepath.Join(dir, "packed-refs"), packed)
}

// folder is a path that does not exist yet, for a clone.
func (w *world) folder() string { return filepath.Join(w.t.TempDir(), "clone") }

func (w *world) wantContains(what, got string, texts ...string) {
	w.t.Helper()
	if i := slices.IndexFunc(texts, func(text string) bool { return !strings.Contains(got, text) }); i >= 0 {
		w.t.Errorf("%s: printed\n%s\nwithout %q", what, got, texts[i])
	}
}
