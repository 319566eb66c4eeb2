package issuing

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A world is a GitHub with one App that is not installed yet, and an empty store.
type world struct {
	*fakegithub.Server
	t     *testing.T
	appID int64
	app   *App
	store store.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldAt(t, time.Now())
}

func newWorldAt(t *testing.T, now time.Time) *world {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, Root: t.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	key, err := mint.ParseKey([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := gh.AddAccount("acme", fakegithub.Organization); err != nil {
		t.Fatal(err)
	}
	made, err := gh.AddApp(fakegithub.App{
		Slug: "sandbox-pass", Owner: "acme", Keys: []*rsa.PublicKey{key.Public()},
		Permissions: fakegithub.Permissions{"contents": "write", "issues": "write"},
	})
	if err != nil {
		t.Fatal(err)
	}
	app, err := NewApp(made.ClientID, key, "https://github.test")
	if err != nil {
		t.Fatal(err)
	}
	app.Client, app.Now = &http.Client{Transport: gh.Transport()}, gh.Now
	return &world{gh, t, made.ID, app, newStore(t)}
}

func (w *world) install(login string, id int64, isSuspended bool) fakegithub.Installation {
	w.t.Helper()
	i, err := w.AddInstallation(fakegithub.Installation{
		ID: id, AppID: w.appID, Account: login, AccountType: fakegithub.Organization, RepositorySelection: "all", Suspended: isSuspended,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

func keyOf(t *testing.T, key *rsa.PrivateKey) *mint.KeySigner {
	t.Helper()
	k, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
