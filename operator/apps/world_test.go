package apps

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/testkey"
)

// keys are made once: each takes a tenth of a second.
var keys = [2]*rsa.PrivateKey{testkey.RSA(2048, 1), testkey.RSA(2048, 2)}

func pemText(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// A world is the double of GitHub with one App, which has keys[0] and is installed on
// acme, and a registry before it.
type world struct {
	*fakegithub.Server
	app          fakegithub.App
	installation int64
	registry     *Registry
	config       string // path of the operator's own configuration
	key          string // path of its key
}

// newWorld may be used inside a synctest bubble: nothing goes over a network.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, fakegithub.Options{})
}

func newWorldWith(t *testing.T, o fakegithub.Options) *world {
	t.Helper()
	o.HandlerOnly, o.RESTOnly, o.Root = true, true, t.TempDir()
	gh, err := fakegithub.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w := &world{Server: gh}
	w.app, err = gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&keys[0].PublicKey}, Permissions: map[string]string{"contents": "write", "issues": "read"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := gh.AddAccount("acme", fakegithub.Organization); err != nil {
		t.Fatal(err)
	}
	if _, err := gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		t.Fatal(err)
	}
	in, err := gh.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		t.Fatal(err)
	}
	w.installation = in.ID
	w.registry = &Registry{GitHub: "https://github.test", Client: &http.Client{Transport: gh.Transport()}}
	return w
}

// own gives the operator a configuration with keys[0].
func (w *world) own(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	w.config, w.key = filepath.Join(dir, "gatepass.yaml"), filepath.Join(dir, "private.key")
	write(t, w.key, string(pemText(keys[0])))
	write(t, w.config, "app_id: "+strconv.FormatInt(w.app.ID, 10)+"\nkey: "+w.key+"\n")
	file, err := OpenConfig(w.config, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	w.registry.Own = file
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (w *world) grant() mint.Grant {
	return mint.Grant{Installation: w.installation, Repositories: mint.RepositoryNames("widgets"), Permissions: mint.PermissionLevels(map[string]string{"contents": "read"})}
}

// limit has GitHub refuse the next mint as one too many.
func (w *world) limit(t *testing.T, after time.Duration) {
	t.Helper()
	w.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.SecondaryRateLimited(after), 1)
}

// all counts the requests so far.
func (w *world) all() int { return w.Count(func(fakegithub.Request) bool { return true }) }

// setRate has the App hear how much of its hour is left.
func (w *world) setRate(t *testing.T, app *App, limit, left int) {
	t.Helper()
	next := w.registry.Client.Transport
	app.Client = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil {
			response.Header.Set("X-RateLimit-Limit", strconv.Itoa(limit))
			response.Header.Set("X-RateLimit-Remaining", strconv.Itoa(left))
			response.Header.Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
		}
		return response, err
	})}
	if _, err := app.Self(t.Context()); err != nil {
		t.Fatal(err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
