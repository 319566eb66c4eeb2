package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

// age is the age of the tokens of a fleet: each has a quarter of an hour left.
const age = 45 * time.Minute

// A fleet is a GitHub and a store with many workspaces whose tokens are all due.
type fleet struct {
	github *fakegithub.Server
	dir    string // folder of the store
	ca     string // file with the GitHub's certificate
	url    string // address of a GitHub that another process runs; "" means github's own
	appID  int64
	key    []byte // key of the App, PEM

	installation int64 // the App's installation on acme
}

// startFleet makes the workspaces at a time in the past. The store is in memory if the
// machine has such a file system, because the disk is not measured.
func (b *bench) startFleet(n int) (*fleet, error) {
	past := func() time.Time { return time.Now().Add(-age) }
	gh, err := fakegithub.New(fakegithub.Options{Now: past, RateLimit: 100 * n})
	if err != nil {
		return nil, err
	}
	f := &fleet{github: gh}
	if f.dir, err = os.MkdirTemp(memoryFolder(b.scratch), "gatepass-bench-"); err == nil {
		f.ca = filepath.Join(f.dir, "ca.pem")
		err = os.WriteFile(f.ca, gh.CAPEM(), 0o600)
	}
	if err == nil {
		err = f.settle(b.ctx, n, past)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	gh.Advance(age)
	return f, nil
}

func memoryFolder(otherwise string) string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return otherwise
}

func (f *fleet) close() {
	if f.github != nil {
		_ = f.github.Close()
	}
	_ = os.RemoveAll(f.dir)
}

func (f *fleet) storeURL() string {
	return (&url.URL{Scheme: "file", Path: filepath.Join(f.dir, "store")}).String()
}

// settle sets up the App, installs it on acme, and makes the workspaces.
func (f *fleet) settle(ctx context.Context, n int, now func() time.Time) error {
	u, err := url.Parse(f.storeURL())
	if err != nil {
		return err
	}
	s, err := filestore.OpenStore(u)
	if err != nil {
		return err
	}
	app, err := f.setUp(ctx, s)
	if err != nil {
		return err
	}
	app.Now = now
	p, err := profile.Parse([]byte("spec: {sourceAccess: {github: {allowedRepos: [acme/widgets], permissions: [push]}}}"))
	if err != nil {
		return err
	}
	issuer := &workspace.Issuer{App: app, Store: s, Now: now}
	return inParallel(n, func(k int) error {
		_, err := issuer.Create(ctx, fmt.Sprintf("sb-%d", k), p, 0)
		return err
	})
}

// setUp creates the App at the GitHub and stores its credentials.
func (f *fleet) setUp(ctx context.Context, s store.Store) (*mint.App, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	signer, err := mint.ParseKey(text)
	if err != nil {
		return nil, err
	}
	app, err := f.github.AddApp(fakegithub.App{Keys: []*rsa.PublicKey{&key.PublicKey}, Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		return nil, err
	}
	if _, err := f.github.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		return nil, err
	}
	f.appID, f.key = app.ID, text
	in, err := f.github.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		return nil, err
	}
	f.installation = in.ID
	name, err := store.Installation("acme")
	if err != nil {
		return nil, err
	}
	address := cmp.Or(f.url, f.github.URL())
	for name, value := range map[store.Name]string{
		store.AppClientID(): app.ClientID, store.PrivateKey(): string(text), store.GitHubURL(): address, name: strconv.FormatInt(in.ID, 10),
	} {
		if err := s.Put(ctx, name, store.NewSecret(value), store.CreateOnly); err != nil {
			return nil, err
		}
	}
	client := &http.Client{Transport: f.github.Transport()}
	return &mint.App{ID: app.ClientID, Signer: signer, URL: address + "/api/v3", Client: client}, nil
}

// inParallel calls do for 0 to n-1, a few at once, and returns the first error.
func inParallel(n int, do func(int) error) error {
	const workers = 8
	var mu sync.Mutex // guards next and first
	next, first := 0, error(nil)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for {
				mu.Lock()
				k := next
				next++
				isOver := k >= n || first != nil
				mu.Unlock()
				if isOver {
					return
				}
				if err := do(k); err != nil {
					mu.Lock()
					first = firstOf(first, err)
					mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	return first
}

// asked counts the requests for tokens, and the different JWTs in them.
func (f *fleet) asked() (mints, signatures int) {
	shown := map[string]bool{}
	for _, r := range f.github.Requests() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/access_tokens") {
			mints++
			shown[r.Hash] = true
		}
	}
	return mints, len(shown)
}
