package issuing

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/workspace/profile"
)

// calls is a store that remembers reads below config/github.
type calls struct {
	store.Store
	made []string
}

func (c *calls) note(verb, path string) {
	if strings.HasPrefix(path, "config/github") {
		c.made = append(c.made, verb+" "+strings.TrimPrefix(path, "config/github/"))
	}
}

func (c *calls) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	c.note("get", name.String())
	return c.Store.Get(ctx, name)
}

func (c *calls) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	c.note("list", below.String())
	return c.Store.List(ctx, below)
}

// Stores with one App must not pay for pools: opening the App takes one more read, and
// a mint none.
func TestAStoreWithOneAppIsReadOnceForAPool(t *testing.T) {
	w := newWorld(t)
	w.install("acme", 0, false)
	if _, err := w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		t.Fatal(err)
	}
	s := &calls{Store: w.store}
	if err := Save(t.Context(), w.store, ofFile(w.app.ID), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	if _, err := Discover(t.Context(), w.store, w.app.App, Changes{}); err != nil {
		t.Fatal(err)
	}
	issuer, _, err := NewIssuer(t.Context(), s, "https://github.test")
	if err != nil || issuer.Pool != nil {
		t.Fatalf("NewIssuer = %+v, %v, want one without a pool", issuer, err)
	}
	if want := []string{"get app-client-id", "get signer", "get private-key", "get pool"}; !slices.Equal(s.made, want) {
		t.Errorf("the store is asked for %q, want %q", s.made, want)
	}
	s.made = nil
	issuer.App = w.app.App
	p, err := profile.Parse([]byte("spec: {sourceAccess: {github: {allowedRepos: [acme/widgets], permissions: [clone]}}}"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if _, err := issuer.Create(t.Context(), fmt.Sprint("sb-", n), p, 0); err != nil {
			t.Fatal(err)
		}
	}
	if isOther := func(call string) bool { return !strings.Contains(call, " installations") }; slices.ContainsFunc(s.made, isOther) {
		t.Errorf("for five mints the store is asked for %q, want nothing of a pool", s.made)
	}
}

func TestJoin(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	if err := AddToPool(ctx, s, "b", ofFile("Iv23liB"), store.CreateOnly); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a first App Join = %v, want that it is missing", err)
	}
	if err := Save(ctx, s, ofFile("Iv23liA"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	enterprise := ofFile("Iv23liC")
	enterprise.GitHub = "https://ghe.example"
	for _, c := range []struct {
		name  string
		app   Credentials
		mode  store.Mode
		error string // "" for none
	}{
		{"b", ofFile("Iv23liB"), store.CreateOnly, ""},
		{"b", ofFile("Iv23liB"), store.CreateOnly, "add the App b of the pool: it is set up already"},
		{"b", ofFile("Iv23liB"), store.Replace, ""},
		{"c", ofFile("Iv23liA"), store.CreateOnly, "the first App has this ID already"},
		{"c", ofFile("Iv23liB"), store.CreateOnly, "the App b has this ID already"},
		{"c", enterprise, store.CreateOnly, "the first App is of https://github.com"},
		{"C", ofFile("Iv23liC"), store.CreateOnly, "not a name for an App"},
		{"", ofFile("Iv23liC"), store.Replace, "not a name for an App"},
		{"c", ofFile("Iv23liC"), store.CreateOnly, ""},
	} {
		err := AddToPool(ctx, s, c.name, c.app, c.mode)
		if (err == nil) != (c.error == "") || err != nil && !strings.Contains(err.Error(), c.error) {
			t.Errorf("AddToPool(%q, %s) = %v, want %q", c.name, c.app.ID, err, c.error)
		}
	}
	all, err := Members(ctx, s, "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range all {
		names = append(names, m.Name+":"+m.App.ID)
	}
	if want := []string{":Iv23liA", "b:Iv23liB", "c:Iv23liC"}; !slices.Equal(names, want) {
		t.Errorf("the Apps are %q, want %q", names, want)
	}
}

// An App of another GitHub must not get the first one's requests or repositories.
func TestAnAppOfAnotherGitHubIsNotUsed(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	for _, step := range []func() error{
		func() error { return Save(ctx, s, ofFile("Iv23liA"), store.CreateOnly) },
		func() error { return AddToPool(ctx, s, "b", ofFile("Iv23liB"), store.CreateOnly) },
		func() error {
			first := ofFile("Iv23liA")
			first.GitHub = "https://ghe.example"
			return Save(ctx, s, first, store.Replace)
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Members(ctx, s, "")
	if err != nil || all[1].App != nil || all[1].Err == nil || !strings.Contains(all[1].Err.Error(), "it is of https://github.com") {
		t.Errorf("Members = %+v, %v, want that b is of another GitHub", all, err)
	}
}

func TestALoaderKeepsEachApp(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	l := &Loader{Store: s}
	ids := func() (apps []*mint.App) {
		t.Helper()
		issuer, _, err := l.Issuer(ctx)
		if err != nil {
			t.Fatal(err)
		}
		apps = append(apps, issuer.App)
		if issuer.Pool != nil {
			for _, a := range issuer.Pool.Apps {
				if a.NotReady != nil {
					t.Fatal(a.NotReady)
				}
				apps = append(apps, a.App)
			}
			if issuer.Pool.Choice != &l.choice {
				t.Error("what is known of the Apps is forgotten")
			}
		}
		return apps
	}
	if err := Save(ctx, s, ofFile("Iv23liA"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	one := ids()
	if err := AddToPool(ctx, s, "b", ofFile("Iv23liB"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	two := ids()
	if len(one) != 1 || len(two) != 2 || one[0] != two[0] || two[1].ID != "Iv23liB" {
		t.Fatalf("the Apps are %v and then %v, want the second to join", one, two)
	}
	if again := ids(); !slices.Equal(two, again) {
		t.Error("the Apps are made anew")
	}
	of, err := store.OfApp(s, "b")
	if err != nil {
		t.Fatal(err)
	}
	if err := Save(ctx, of, Credentials{ID: "Iv23liB", PrivateKey: store.NewSecret(newKey(1))}, store.Replace); err != nil {
		t.Fatal(err)
	}
	if rotated := ids(); rotated[0] != two[0] || rotated[1] == two[1] {
		t.Error("after b's key was rotated, want b alone to be made anew")
	}
	l.Forget()
	if anew := ids(); anew[0] == two[0] {
		t.Error("Forget keeps the first App")
	}
}

// While one App's key cannot be read, tokens are still revoked, and other Apps mint.
func TestAnAppWithoutAKeyIsUnready(t *testing.T) {
	for _, broken := range []string{"", "b"} {
		w := newWorld(t)
		if err := Save(t.Context(), w.store, ofFile("Iv23liA"), store.CreateOnly); err != nil {
			t.Fatal(err)
		}
		if err := AddToPool(t.Context(), w.store, "b", ofFile("Iv23liB"), store.CreateOnly); err != nil {
			t.Fatal(err)
		}
		of, err := store.OfApp(w.store, broken)
		if err == nil {
			err = of.Put(t.Context(), store.PrivateKey(), store.NewSecret("no key"), store.Replace)
		}
		if err != nil {
			t.Fatal(err)
		}
		issuer, app, err := NewIssuer(t.Context(), w.store, "")
		if err != nil {
			t.Fatal(err)
		}
		b := issuer.Pool.Apps[0]
		if (issuer.NotReady != nil) != (broken == "") || (b.NotReady != nil) != (broken == "b") || issuer.App == nil || b.App == nil || app.App != issuer.App {
			t.Errorf("without the key of %q the Apps are unready: %v, %v", broken, issuer.NotReady, b.NotReady)
		}
		installation := w.install("acme", 0, false).ID
		for _, a := range []*mint.App{issuer.App, b.App} {
			a.Client = &http.Client{Transport: w.Transport()}
			token, err := w.MintFor(installation, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Revoke(t.Context(), credential.NewToken(token, w.Now().Add(credential.Lifetime))); err != nil {
				t.Errorf("without the key of %q a token cannot be revoked: %v", broken, err)
			}
		}
	}
}
