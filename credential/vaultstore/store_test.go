package vaultstore

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

func openStore(t *testing.T, raw string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRealStoreConforms(t *testing.T) {
	v := realVault(t)
	mount := v.kv("", "2")
	n := 0
	storetest.Run(t, func(t *testing.T) func() store.Store {
		n++
		prefix := fmt.Sprintf("vault://%s/team/p%d", mount, n)
		return func() store.Store { return openStore(t, prefix) }
	})
}

func TestRealListsPause(t *testing.T) {
	v := realVault(t)
	storetest.PausesBetweenPages(t, openStore(t, "vault://"+v.kv("", "2")+"/team"))
}

// Mounts may have several segments, and a store may have one to itself.
func TestRealStoreWithoutPrefix(t *testing.T) {
	v := realVault(t)
	s := openStore(t, "vault://"+v.kv("/deep", "2"))
	if err := s.Put(t.Context(), store.Signer(), store.NewSecret("x"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	var names []string
	for n, err := range s.List(t.Context(), store.Everything()) {
		if err != nil {
			t.Fatal(err)
		}
		if n != (store.Name{}) && n.String() != "ready" { // written while waiting for the engine
			names = append(names, n.String())
		}
	}
	if strings.Join(names, " ") != "config/github/signer" {
		t.Errorf("List = %q, want the one entry", names)
	}
}

// A source reads what the issuing side delivers.
func TestRealStoreDeliversToSources(t *testing.T) {
	v := realVault(t)
	mount := v.kv("", "2")
	name, err := store.Token("sb-1", "Acme")
	if err != nil {
		t.Fatal(err)
	}
	const token = "ghs_delivered0123456789abcdefghijklmnopq"
	if err := openStore(t, "vault://"+mount).Put(t.Context(), name, store.NewSecret(token), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse("vault://" + mount + "/sandbox/{workspace}/github-tokens/{owner}")
	if err != nil {
		t.Fatal(err)
	}
	source, err := Open(u, "sb-1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := source.Token(t.Context(), credential.Request{Protocol: "https", Host: "github.com", Path: "Acme/widgets"})
	if err != nil || got.Secret() != token {
		t.Errorf("Token = %v, %v, want what was delivered", got, err)
	}
}

func TestRealStoreRefusesOtherEngines(t *testing.T) {
	v := realVault(t)
	s := openStore(t, "vault://"+v.kv("", "1")+"/gatepass")
	err := s.Put(t.Context(), store.Signer(), store.NewSecret("x"), store.Replace)
	if err == nil || !strings.Contains(err.Error(), "is not a KV engine of version 2") {
		t.Errorf("Put to version 1 = %v, want a refusal", err)
	}
	err = openStore(t, "vault://"+v.name+"-absent").Put(t.Context(), store.Signer(), store.NewSecret("x"), store.Replace)
	if err == nil || !strings.Contains(err.Error(), "no secrets engine") {
		t.Errorf("Put to nothing = %v, want a refusal", err)
	}
}

// A user has deleted the newest version by hand; its history stays.
func TestRealStoreCreatesOverADeletedVersion(t *testing.T) {
	v := realVault(t)
	mount := v.kv("", "2")
	s := openStore(t, "vault://"+mount)
	put := func(value string) {
		t.Helper()
		if err := s.Put(t.Context(), store.Signer(), store.NewSecret(value), store.CreateOnly); err != nil {
			t.Fatal(err)
		}
	}
	put("first")
	v.call("DELETE", mount+"/data/"+store.Signer().String(), nil)
	if _, err := s.Get(t.Context(), store.Signer()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a deleted version = %v, want that there is none", err)
	}
	put("second")
}

func TestOpenStoreRefuses(t *testing.T) {
	for _, bad := range []string{
		"vault:///secret", "vault://", "vault://host:8200/x", "vault://u:p@secret/x", "vault://secret/../x", "vault://secret//x",
		"vault://secret/{workspace}", "vault://secret/x#f", "ssm://secret/x", "vault://secret/x?unknown=1", "vault://secret/x?addr=http://far.example",
		"vault://secret/x?field=token",
	} {
		u, err := url.Parse(bad)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := OpenStore(u); err == nil {
			t.Errorf("OpenStore(%s) = %+v, want an error", bad, s)
		}
	}
}

func TestRealStoreIsDamaged(t *testing.T) {
	v := realVault(t)
	mount := v.kv("", "2")
	s := openStore(t, "vault://"+mount+"/team")
	storetest.Damaged(t, s, func(name store.Name) {
		v.post(mount+"/data/team/"+name.String(), map[string]any{"data": map[string]any{"note": "of somebody"}})
	})
}
