//go:build linux

package serve

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// join adds an App to the pool, installed on acme, and returns its client ID and
// installation.
func (w *world) join(name string) (id string, installation int64) {
	w.t.Helper()
	app, err := w.gh.AddApp(fakegithub.App{Slug: "gatepass-" + name, Keys: []*rsa.PublicKey{&testKey().PublicKey}, Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		w.t.Fatal(err)
	}
	in, err := w.gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		w.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey())})
	w.put(store.GitHubURL(), w.gh.URL())
	if err := issuing.AddToPool(w.t.Context(), w.store, name, issuing.Credentials{ID: app.ClientID, PrivateKey: store.NewSecret(string(text)), GitHub: w.gh.URL()}, store.CreateOnly); err != nil {
		w.t.Fatal(err)
	}
	return app.ClientID, in.ID
}

// minters counts the mints of each App in the audit log.
func (w *world) minters() map[string]int {
	w.t.Helper()
	count := map[string]int{}
	for _, line := range w.auditLines() {
		var e broker.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			w.t.Fatal(err)
		}
		if e.Kind == broker.KindMinted && e.Decision == broker.Granted {
			count[e.App]++
		}
		if e.Kind == broker.KindRequest && e.Decision == broker.Granted && e.App == "" {
			w.t.Errorf("an answer does not name the App: %s", line)
		}
	}
	return count
}

// A session names the bot of the App that mints the tokens of its repository: commits and
// comments have one author.
func TestASessionNamesTheBotOfItsApp(t *testing.T) {
	const repositories = 8
	w := newWorld(t)
	w.addApp(repositories)
	first := w.gh.Apps()[0].ClientID
	b, _ := w.join("b")
	w.write("broker.yaml", "gateway: {}\n"+testConfig)
	p := w.start()
	p.until("both Apps are loaded", func() bool { return strings.Count(p.log.String(), "the GitHub App is loaded") == 2 }) // one mints for all until then
	bots := map[string]string{first: "gatepass[bot]", b: "gatepass-b[bot]"}
	seen := map[string]bool{}
	for n := range repositories {
		repo := fmt.Sprint("acme/r", n)
		if got := w.token(repo, "read"); got.status != 200 {
			t.Fatalf("%s: %d %s", repo, got.status, got.body)
		}
		var e broker.Entry
		lines := w.auditLines()
		if err := json.Unmarshal(lines[len(lines)-1], &e); err != nil || bots[e.App] == "" {
			t.Fatalf("the audit log ends with %s (%v), want the App", lines[len(lines)-1], err)
		}
		var author string
		p.until("the session names an author", func() bool {
			got := read(overSocket(w.path("broker.sock")).Post("http://broker"+api.SessionPath, "application/json", strings.NewReader(`{"repo":"`+repo+`"}`)))
			answer, err := api.DecodeGatewaySession([]byte(got.body))
			author = answer.Author.Name
			return err == nil && author != ""
		})
		if author != bots[e.App] {
			t.Errorf("the session for %s names %s, want %s, whose App mints", repo, author, bots[e.App])
		}
		seen[author] = true
	}
	if len(seen) != 2 {
		t.Errorf("the authors are %v, want both bots", seen)
	}
}

// The login of the App that answered for one that was not loaded yet was kept until the
// broker ended.
func TestTheLoginOfAnotherAppIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	b, _ := w.join("b")
	pool := newApps(w.store, w.gh.URL(), slog.New(slog.DiscardHandler))
	pool.client = w.gh.Client()
	if _, err := pool.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	known := &bots{apps: pool}
	for _, want := range []string{"gatepass[bot]", "gatepass-b[bot]"} {
		if got, isOwn, err := known.login(t.Context(), b); err != nil || got != want || isOwn != (want == "gatepass-b[bot]") {
			t.Errorf("login = %q, %v, %v, want %q", got, isOwn, err, want)
		}
		pool.find(t.Context()) // loads the other App
	}
}

// A session that began while its App was not loaded yet names the bot of another App, which
// mints for it meanwhile. A later session names its own.
func TestTheAuthorOfAnotherAppIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	b, _ := w.join("b")
	pool := newApps(w.store, w.gh.URL(), slog.New(slog.DiscardHandler))
	pool.client = w.gh.Client()
	if _, err := pool.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	upstream, err := access.NewUpstream(w.gh.URL())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.gh.CAPEM())
	upstream.Trust(roots)
	known := &bots{apps: pool, upstream: upstream, log: slog.New(slog.DiscardHandler)}
	for _, want := range []string{"gatepass[bot]", "gatepass-b[bot]"} {
		if got := known.author(t.Context(), b); got.Name != want {
			t.Errorf("author = %+v, want %q", got, want)
		}
		pool.find(t.Context()) // loads the other App
		known.authors[b].asked = time.Time{}
	}
}

func TestABrokerWithAPool(t *testing.T) {
	if testing.Short() {
		t.Skip("starts several brokers")
	}
	const repositories = 20
	w := newWorld(t)
	w.addApp(repositories)
	first := w.gh.Apps()[0].ClientID
	b, _ := w.join("b")
	p := w.start()
	ask := func(operation string) {
		t.Helper()
		for n := range repositories {
			if got := w.token(fmt.Sprint("acme/r", n), operation); got.status != 200 {
				t.Fatalf("r%d: %d %s", n, got.status, got.body)
			}
		}
	}
	ask("read")
	before := w.minters()
	if before[first] < 4 || before[b] < 4 || before[first]+before[b] != repositories {
		t.Errorf("the Apps minted %v, want both", before)
	}
	text := w.get("metrics.sock", "/metrics").body
	for _, want := range []string{`gatepass_broker_app_usable{app="first"} 1`, `gatepass_broker_app_usable{app="b"} 1`, `gatepass_broker_app_accounts{app="b"} 1`, `gatepass_broker_app_rate_remaining{app="b"} 49`} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if err := w.gh.Suspend(w.gh.Tokens()[0].InstallationID, true); err != nil {
		t.Fatal(err)
	}
	ask("write")
	after := w.minters()
	if total := after[first] + after[b] - before[first] - before[b]; total != repositories || after[first] != before[first] && after[b] != before[b] {
		t.Errorf("with one suspended the Apps minted %v, before %v, want all by the other", after, before)
	}
	w.join("c")
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until("the third App is used", func() bool {
		return strings.Contains(w.get("metrics.sock", "/metrics").body, `gatepass_broker_app_usable{app="c"} 1`)
	})
	// A scope with checks: write moved to another App without a word.
	if err := issuing.RemoveFromPool(t.Context(), w.store, "c"); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until("saying that the third App left", func() bool {
		text := p.log.String()
		return strings.Contains(text, "an App has left the pool, and others mint in its place; they cannot update the check runs that it made") && strings.Contains(text, "made\" pool=c")
	})
}
