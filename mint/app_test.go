package mint

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/openapi"
	"github.com/gatepass/gatepass/test/testkey"
)

var testKey = testkey.RSA(2048, 0)

// counting counts the signatures of a key.
type counting struct {
	KeySigner
	signed atomic.Int64
}

func (c *counting) Sign(ctx context.Context, digest [sha256.Size]byte) ([]byte, error) {
	c.signed.Add(1)
	return c.KeySigner.Sign(ctx, digest)
}

// github is a double with one App on acme, and that App's client.
type github struct {
	*fakegithub.Server
	app          *App
	signer       *counting
	installation int64
	widgets      int64
}

// newGitHub may be used inside a synctest bubble: nothing goes over a network.
func newGitHub(t *testing.T) *github {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, RESTOnly: true, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	app, err := gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: map[string]string{"contents": "write", "issues": "read"}})
	if err != nil {
		t.Fatal(err)
	}
	g := &github{Server: gh, signer: &counting{KeySigner: KeySigner{testKey}}}
	for _, name := range []string{"widgets", "gadgets"} {
		repo, err := gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if name == "widgets" {
			g.widgets = repo.ID
		}
	}
	inst, err := gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		t.Fatal(err)
	}
	g.installation = inst.ID
	g.app = &App{ID: app.ClientID, Signer: g.signer, URL: "https://github.test", Client: &http.Client{Transport: contract(t).Watch(t, gh.Transport())}, Now: gh.Now}
	return g
}

// contract is GitHub's description of its REST API.
func contract(t *testing.T) openapi.Contract {
	t.Helper()
	return openapi.Load(t, "../test/fakegithub/testdata/openapi/schemas.json")
}

func (g *github) grant() Grant {
	return Grant{Installation: g.installation, Repositories: RepositoryNames("widgets"), Permissions: contents("read")}
}

func TestMintGivesExactlyWhatWasAsked(t *testing.T) {
	g := newGitHub(t)
	for name, repositories := range map[string]Repositories{"by name": RepositoryNames("Widgets"), "by id": RepositoryIDs(g.widgets)} {
		m, err := g.app.Mint(t.Context(), Grant{Installation: g.installation, Repositories: repositories, Permissions: contents("read")})
		if err != nil || len(m.Narrower) > 0 {
			t.Fatalf("%s: Mint = %v, %v", name, m, err)
		}
		if got := strings.Join(m.Token.Repositories, " "); got != "acme/widgets" || m.Token.Permissions["contents"] != "read" {
			t.Errorf("%s: token for %s with %v, want acme/widgets to read", name, got, m.Token.Permissions)
		}
		if left := m.Token.Expiry.Sub(g.Now()); left < 59*time.Minute || left > time.Hour {
			t.Errorf("%s: token lives %v, want an hour", name, left)
		}
	}
}

func TestMintSendsNothingUndecided(t *testing.T) {
	g := newGitHub(t)
	for _, grant := range []Grant{{}, {Installation: g.installation}, {Installation: g.installation, Repositories: RepositoryNames(), Permissions: contents("read")}, {Installation: g.installation, Repositories: RepositoryNames("widgets")}} {
		if m, err := g.app.Mint(t.Context(), grant); err == nil {
			t.Errorf("Mint(%+v) = %v, want an error", grant, m)
		}
	}
	if n := g.Count(func(fakegithub.Request) bool { return true }); n != 0 {
		t.Errorf("GitHub was asked %d times, want 0", n)
	}
}

func TestRevokeEndsTheToken(t *testing.T) {
	g := newGitHub(t)
	m, err := g.app.Mint(t.Context(), g.grant())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second is for a run that was cut off after the first
		if err := g.app.Revoke(t.Context(), m.Token); err != nil {
			t.Fatalf("Revoke = %v", err)
		}
	}
	if live := g.Tokens(); len(live) != 0 {
		t.Errorf("live tokens = %d, want 0", len(live))
	}
}

func TestFailuresByKind(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(*github) Grant
		want   Kind
		status int
	}{
		{"a foreign key", func(g *github) Grant {
			other := testkey.RSA(2048, 1)
			g.app.Signer = &KeySigner{other}
			return g.grant()
		}, BadKey, 401},
		{"an unknown App", func(g *github) Grant { g.app.ID = "Iv23nobody"; return g.grant() }, BadKey, 404},
		{"an unknown installation", func(g *github) Grant {
			return Grant{Installation: 4711, Repositories: RepositoryNames("widgets"), Permissions: contents("read")}
		}, NotInstalled, 404},
		{"a suspended installation", func(g *github) Grant { g.Suspend(g.installation, true); return g.grant() }, Suspended, 403},
		{"an unknown repository", func(g *github) Grant {
			return Grant{Installation: g.installation, Repositories: RepositoryNames("nothing"), Permissions: contents("read")}
		}, NotGranted, 422},
		{"a permission it has not", func(g *github) Grant {
			return Grant{Installation: g.installation, Repositories: RepositoryNames("widgets"), Permissions: PermissionLevels(map[string]string{"workflows": "write"})}
		}, NotGranted, 422},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGitHub(t)
			_, err := g.app.Mint(t.Context(), c.spoil(g))
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != c.want || e.Status != c.status {
				t.Fatalf("Mint = %v, want kind %v and status %d", err, c.want, c.status)
			}
			if strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), "; ") {
				t.Errorf("error %q, want one line that says what to do", err)
			}
		})
	}
}

func TestTroubleThatPassesIsWaitedOut(t *testing.T) {
	for name, fault := range map[string]fakegithub.Fault{
		"502":                    fakegithub.Status(502),
		"a reset":                fakegithub.Reset(),
		"truncated JSON":         fakegithub.Truncate(20),
		"a rate limit":           fakegithub.RateLimited(3 * time.Second),
		"a secondary rate limit": fakegithub.SecondaryRateLimited(3 * time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGitHub(t)
				g.Fail(fakegithub.To("POST", "/access_tokens"), fault, 2)
				if _, err := g.app.Mint(t.Context(), g.grant()); err != nil {
					t.Errorf("Mint = %v, want success on the third try", err)
				}
			})
		})
	}
}

func TestWaitingNeverPassesTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGitHub(t)
		g.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.RateLimited(20*time.Second), -1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := g.app.Mint(ctx, g.grant())
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != RateLimited || e.RetryAfter != 20*time.Second || time.Since(start) > time.Second {
			t.Errorf("Mint = %v after %v, want the rate limit at once", err, time.Since(start))
		}
	})
}

func TestAClockThatIsOffIsLearnt(t *testing.T) {
	for _, off := range []time.Duration{-15 * time.Minute, 15 * time.Minute} {
		g := newGitHub(t)
		theirs := g.Now
		g.app.Now = func() time.Time { return theirs().Add(off) }
		for range 2 {
			if _, err := g.app.Mint(t.Context(), g.grant()); err != nil {
				t.Fatalf("clock %v off: Mint = %v", off, err)
			}
		}
		refused := g.Count(func(r fakegithub.Request) bool { return r.Status == 401 })
		if refused != 1 {
			t.Errorf("clock %v off: %d refusals, want 1", off, refused)
		}
	}
}

func TestAThousandMintsCostFewSignatures(t *testing.T) {
	g := newGitHub(t)
	for range 1000 {
		if _, err := g.app.Mint(t.Context(), g.grant()); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.signer.signed.Load(); n > 10 {
		t.Errorf("signatures = %d, want at most 10", n)
	}
	g.Advance(9 * time.Minute)
	if _, err := g.app.Mint(t.Context(), g.grant()); err != nil {
		t.Errorf("Mint after the JWT's end = %v", err)
	}
}

func TestAPIURL(t *testing.T) {
	for github, want := range map[string]string{
		"https://github.com": DefaultURL, "https://GitHub.com/": DefaultURL, "https://acme.ghe.com": "https://api.acme.ghe.com",
		"https://git.example:8443": "https://git.example:8443/api/v3",
		"http://github.com":        "", "github.com": "", "https://u:p@github.com": "", "https://github.com/acme": "", "": "",
	} {
		if got, err := APIURL(github); got != want || (err == nil) != (want != "") {
			t.Errorf("APIURL(%q) = %q, %v, want %q", github, got, err, want)
		}
	}
}

func TestReadKey(t *testing.T) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	small, _ := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // weak on purpose
	pemOf := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs1 := pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(testKey))
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	for _, c := range []struct {
		name string
		text []byte
		mode os.FileMode
		ok   bool
	}{
		{"PKCS#1", pkcs1, 0o600, true},
		{"PKCS#8", pemOf("PRIVATE KEY", pkcs8), 0o400, true},
		{"readable by the group", pkcs1, 0o640, false},
		{"readable by all", pkcs1, 0o604, false},
		{"a path instead of a key", []byte(path), 0o600, false},
		{"a public key", pemOf("PUBLIC KEY", nil), 0o600, false},
		{"longer than is read", append(slices.Clone(pkcs1), bytes.Repeat([]byte("\n"), maxKeyFile)...), 0o600, false},
		{"damaged", pemOf("RSA PRIVATE KEY", []byte{1, 2}), 0o600, false},
		{"too small", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), 0o600, false},
	} {
		_ = os.Remove(path)
		if err := os.WriteFile(path, c.text, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKey(path); (err == nil) != c.ok {
			t.Errorf("%s: ReadKey = %v, want ok %v", c.name, err, c.ok)
		}
	}
	// An error may be written to a log, with the path in it.
	if _, err := ReadKey(string(pkcs1)); err == nil || strings.Contains(err.Error(), "RSA") {
		t.Errorf("ReadKey of PEM text = %v, want an error without it", err)
	}
}

func TestReach(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   *fakegithub.Fault
		reached bool
	}{
		{"all is well", nil, true},
		{"its rate limits are off", new(fakegithub.Status(http.StatusNotFound)), true},
		{"it tells strangers nothing", new(fakegithub.Status(http.StatusUnauthorized)), true},
		{"it is busy", new(fakegithub.RateLimited(0)), true},
		{"it is down", new(fakegithub.Status(http.StatusBadGateway)), false},
		{"no server listens", new(fakegithub.Reset()), false},
	} {
		g := newGitHub(t)
		if c.fault != nil {
			g.Fail(fakegithub.To(http.MethodGet, "/rate_limit"), *c.fault, -1)
		}
		err := g.anonymous().Reach(t.Context())
		e, ok := errors.AsType[*Error](err)
		if (err == nil) != c.reached || err != nil && (!ok || e.Kind != Unavailable) {
			t.Errorf("%s: Reach = %v, want reached %v", c.name, err, c.reached)
		}
	}
}
