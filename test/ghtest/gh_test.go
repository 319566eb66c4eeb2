package ghtest_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/fakegithub/hub"
	"github.com/gatepass/gatepass/test/ghtest"
)

const host = "github.example.test"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newGitHub is a double of GitHub as gh needs it, and a token for acme/widgets there.
func newGitHub(t *testing.T) (*fakegithub.Server, *hub.Hub, string) {
	t.Helper()
	s, err := fakegithub.New(fakegithub.Options{Root: t.TempDir(), Names: []string{host}})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	h, err := hub.Attach(s)
	must(t, err)
	must(t, s.AddAccount("acme", fakegithub.Organization))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	app, err := s.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&key.PublicKey}, Permissions: fakegithub.Permissions{
		"contents": "write", "pull_requests": "write", "issues": "write", "actions": "read", "checks": "read", "statuses": "read",
	}})
	must(t, err)
	_, err = s.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"})
	must(t, err)
	in, err := s.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	must(t, err)
	token, err := s.MintFor(in.ID, []string{"widgets"}, nil)
	must(t, err)
	return s, h, token
}

// forEach runs a test with each gh.
func forEach(t *testing.T, test func(*testing.T, ghtest.Program)) {
	t.Parallel()
	for _, program := range ghtest.Programs() {
		t.Run(program.Name, func(t *testing.T) {
			t.Parallel()
			program.Need(t)
			test(t, program)
		})
	}
}

// The double is an Enterprise Server to gh, since it is not github.com.
func TestGhAgainstTheDouble(t *testing.T) {
	if testing.Short() {
		t.Skip("runs gh many times")
	}
	forEach(t, func(t *testing.T, program ghtest.Program) {
		s, h, token := newGitHub(t)
		h.SetEnterprise("3.20.0")
		p := &ghtest.Place{Program: program, Host: host, Addr: s.Host(), CA: s.CAPEM(), Token: token, Pages: "https://" + host}
		p.Start(t)
		w := ghtest.Prepare(t, h)
		more(t, p, w, p.Walk(t, w))
	})
}

// more is what takes contents: write, or is not done for one repository.
func more(t *testing.T, p *ghtest.Place, w ghtest.Scene, dir string) {
	t.Helper()
	pull, issue := strconv.Itoa(w.Pull), strconv.Itoa(w.Issue)
	p.Run(dir, "auth", "status")
	p.Shows(dir, "Oil the widget", "search", "prs", "--repo", "acme/widgets", "oil")
	p.Run(dir, "pr", "edit", pull, "--title", "Oil it well", "--add-label", "bug")
	p.Run(dir, "pr", "review", pull, "--approve", "--body", "Fine")
	p.Shows(dir, "Oil it well|bug", "pr", "view", pull)
	p.Run(dir, "pr", "close", pull)
	p.Run(dir, "pr", "reopen", pull)
	p.Run(dir, "pr", "merge", pull, "--squash")
	p.Shows(dir, "MERGED", "pr", "view", pull)
	p.Run(dir, "issue", "develop", issue, "--base", "main", "--name", "for-the-issue")
	must(t, os.WriteFile(filepath.Join(dir, "a.bin"), []byte("the asset"), 0o600))
	p.Run(dir, "release", "create", "v1", "--notes", "The first", "--title", "One", "a.bin")
	p.Shows(dir, "One", "release", "list")
	p.Shows(dir, "The first|a.bin", "release", "view", "v1")
	into := t.TempDir()
	p.Run(dir, "release", "download", "v1", "--dir", into)
	if text, err := os.ReadFile(filepath.Join(into, "a.bin")); err != nil || string(text) != "the asset" {
		t.Errorf("release download: %q, %v", text, err)
	}
	refs, err := w.Hub.Refs("acme", "widgets")
	must(t, err)
	for _, ref := range []string{"refs/tags/v1", "refs/heads/for-the-issue", "refs/heads/agent/grease"} {
		if refs[ref] == "" {
			t.Errorf("%s is not there: %v", ref, refs)
		}
	}
}

// agents is a profile that pushes branches below agent/ through git, and by whose API no
// ref moves.
const agents = `{allowedRepos: [acme/widgets], allowedRefs: [{ref: "agent/**", allow: [create, update]}],
	permissions: {contents: write, issues: write, pull_requests: write, actions: read, checks: read, statuses: read}}`

// newGateway is a gateway before a double that is github.com: its downloads are at another
// host.
func newGateway(t *testing.T) (*brokertest.Gateway, *hub.Hub, *httptest.Server) {
	t.Helper()
	return newGatewayTo(t, fakegithub.Options{})
}

func newGatewayTo(t *testing.T, o fakegithub.Options) (*brokertest.Gateway, *hub.Hub, *httptest.Server) {
	t.Helper()
	g := brokertest.NewGateway(t, o, agents)
	h, err := hub.Attach(g.Server)
	must(t, err)
	downloads, err := url.Parse(h.DownloadsURL())
	must(t, err)
	settings := gateway.Settings{MaxPack: 64 << 20, IdleTimeout: time.Minute, Transfers: 8}
	api := rest.Options{
		Settings: func() rest.Settings { return rest.Settings{PerHour: 100_000, Storage: []string{downloads.Host}} },
		Bot:      func(context.Context, string) (string, error) { return "gatepass[bot]", nil },
	}
	handler := gateway.New(g.Access, func() gateway.Settings { return settings }, api).Handler(g.Access.Broker.Handler())
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	g.Advance(5 * time.Minute)
	return g, h, server
}

// A GitHub with data residency is the same to gh behind the gateway.
func TestGhThroughTheGatewayWithDataResidency(t *testing.T) {
	if testing.Short() {
		t.Skip("runs gh many times")
	}
	forEach(t, func(t *testing.T, program ghtest.Program) {
		g, h, server := newGatewayTo(t, fakegithub.Options{Residency: "acme.ghe.com"})
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		p := &ghtest.Place{Program: program, Host: "example.com", Addr: server.Listener.Addr().String(), CA: ca, Token: g.Session("acme/widgets"), Pages: "https://acme.ghe.com"}
		p.Start(t)
		p.Walk(t, ghtest.Prepare(t, h))
	})
}

// gh has a session of the gateway for its token.
func TestGhThroughTheGateway(t *testing.T) {
	if testing.Short() {
		t.Skip("runs gh many times")
	}
	forEach(t, func(t *testing.T, program ghtest.Program) {
		g, h, server := newGateway(t)
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		p := &ghtest.Place{Program: program, Host: "example.com", Addr: server.Listener.Addr().String(), CA: ca, Token: g.Session("acme/widgets"), Pages: g.URL()}
		p.Start(t)
		scene := ghtest.Prepare(t, h)
		p.Walk(t, scene)
		checkRefused(t, p, scene)
		for _, d := range h.Downloads() {
			if d.Authorization || d.Status != 200 {
				t.Errorf("storage was asked with a token, or refused: %+v", d)
			}
		}
	})
}
