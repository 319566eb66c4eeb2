package main

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

var testKey = testkey.RSA(2048, 0)

// age is how old the tokens of a new world's workspaces are: due, and alive.
const age = 45 * time.Minute

// A world is a GitHub with an App on two accounts, and a store that has them.
type world struct {
	*fakegithub.Server
	t     *testing.T
	store store.Store
	app   fakegithub.App
	log   *logbook
}

// newWorld makes a GitHub without a listener and a store in memory.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, fakegithub.Options{HandlerOnly: true}, new(storetest.Memory))
}

func newWorldWith(t *testing.T, o fakegithub.Options, s store.Store) *world {
	t.Helper()
	o.Root, o.Now = t.TempDir(), func() time.Time { return time.Now().Add(-age) }
	gh, err := fakegithub.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w := &world{Server: gh, t: t, store: s, log: new(logbook)}
	w.app, err = gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		t.Fatal(err)
	}
	w.installOn("acme", "octo")
	w.saveApp(w.app.ClientID)
	return w
}

func (w *world) installOn(owners ...string) {
	w.t.Helper()
	for _, owner := range owners {
		if _, err := w.AddRepository(fakegithub.Repository{Owner: owner, Name: "widgets"}); err != nil {
			w.t.Fatal(err)
		}
		in, err := w.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: owner, RepositorySelection: "all"})
		if err != nil {
			w.t.Fatal(err)
		}
		name, err := store.Installation(owner)
		if err != nil {
			w.t.Fatal(err)
		}
		w.put(name, fmt.Sprint(in.ID))
	}
}

func (w *world) put(name store.Name, text string) {
	w.t.Helper()
	if err := w.store.Put(w.t.Context(), name, store.NewSecret(text), store.Replace); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) saveApp(id string) {
	w.t.Helper()
	key := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey)})
	c := issuing.Credentials{ID: id, PrivateKey: store.NewSecret(string(key)), GitHub: w.URL()}
	if err := issuing.Save(w.t.Context(), w.store, c, store.Replace); err != nil {
		w.t.Fatal(err)
	}
}

// settle creates workspaces whose tokens are due now.
func (w *world) settle(ids ...string) {
	w.t.Helper()
	key, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey)}))
	if err != nil {
		w.t.Fatal(err)
	}
	past := func() time.Time { return time.Now().Add(-age) }
	app := &mint.App{ID: w.app.ClientID, Signer: key, URL: w.URL(), Client: w.http(), Now: past}
	i := &workspace.Issuer{App: app, Store: w.store, Now: past}
	pattern, err := mint.ParsePattern("acme/widgets")
	if err != nil {
		w.t.Fatal(err)
	}
	p := &profile.Profile{Name: "test", Access: profile.Access{Repositories: []mint.Pattern{pattern}, Permissions: mint.PermissionLevels(map[string]string{"contents": "write"})}}
	for _, id := range ids {
		if _, err := i.Create(w.t.Context(), id, p, 0); err != nil {
			w.t.Fatal(err)
		}
	}
	w.Advance(age - w.Now().Sub(past()).Round(time.Minute)) // to the present, once
	w.ResetRequests()
}

func (w *world) http() *http.Client { return &http.Client{Transport: w.Transport()} }

// refresher returns a refresher for that command line.
func (w *world) refresher(args ...string) *refresher {
	w.t.Helper()
	o, err := parse(args, env())
	if err != nil {
		w.t.Fatal(err)
	}
	return &refresher{
		options: o, apps: issuing.Loader{Store: w.store}, address: "ssm:///km?workspaces=/", log: newLogger(w.log, o.logFormat), client: w.http(),
	}
}

// refresh makes one round.
func (w *world) refresh(r *refresher, q request) (report, error) {
	w.t.Helper()
	return r.refresh(w.t.Context(), nil, q)
}

// asked counts the requests for tokens.
func (w *world) asked() int {
	return w.Count(func(r fakegithub.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/access_tokens")
	})
}

// token returns the token that the workspace reads.
func (w *world) token(id string) string {
	w.t.Helper()
	name, err := store.OnlyToken(id)
	if err != nil {
		w.t.Fatal(err)
	}
	entry, err := w.store.Get(context.WithoutCancel(w.t.Context()), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return entry.Value.Reveal()
}

// A logbook records the log.
type logbook struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// count returns how many lines have the message.
func (l *logbook) count(message string) int {
	return strings.Count(l.String(), `"msg":"`+message+`"`)
}
