package main

import (
	"crypto/rsa"
	"os"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/cmd/gatepass/app"
	"github.com/gatepass/gatepass/mint"
)

// secondKey gives the App another key and returns its file.
func (w *storeWorld) secondKey() (path string, public *rsa.PublicKey) {
	w.t.Helper()
	path, public = writeAppKey(w.t)
	if err := w.AddKey(w.app.ID, public); err != nil {
		w.t.Fatal(err)
	}
	return path, public
}

func TestAppRotateKey(t *testing.T) {
	w := newStoreWorld(t)
	w.install("acme", 11)
	w.add()
	before := w.kept()
	path, public := w.secondKey()
	fingerprint := mint.Fingerprint(public)

	out, errs, status := w.run(t, "app", "rotate-key", "--private-key-file", path, "--dry-run")
	if status != 0 || !strings.HasPrefix(out, `the key belongs to the App Sandbox\u202e Pass; nothing was changed`+"\n") || !strings.Contains(out, "new  "+fingerprint) {
		t.Errorf("rotate-key --dry-run = %d, %q, %q, want nothing changed", status, out, errs)
	}
	if out, _, _ := w.run(t, "app", "status"); !strings.Contains(out, w.fingerprint) {
		t.Errorf("after a dry run app status prints\n%s\nwant the old key", out)
	}

	out, errs, status = w.run(t, "app", "rotate-key", "--private-key-file", path)
	want := `the App Sandbox\u202e Pass signs with the new key
  old  ` + w.fingerprint + ` (RSA, 2048 bits), in the store
  new  ` + fingerprint + ` (RSA, 2048 bits), in the store
when the new key is in use everywhere, delete the old one in the App's settings: ` + w.URL() + `/organizations/acme/settings/apps/sandbox-pass
delete ` + path + `: it is no longer needed
`
	if status != 0 || out != want {
		t.Errorf("rotate-key = %d, %q, %s, want\n%s", status, errs, out, want)
	}
	w.wants("rotate-key", before)

	// Deleting the old key at GitHub breaks nothing.
	old, err := mint.ReadKey(w.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.RemoveKey(w.app.ID, old.Public()); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := w.run(t, "app", "status"); status != 0 {
		t.Errorf("app status with the new key = %d, %q, %q, want 0", status, out, errs)
	}

	out, _, status = w.run(t, "app", "rotate-key", "--private-key-file", path)
	if status != 0 || !strings.Contains(out, "signs with this key already; nothing was changed\n") || strings.Contains(out, "delete") {
		t.Errorf("rotate-key with the same key = %d, %q, want nothing changed", status, out)
	}
}

// The same key in another place: the store then has its URL and no part of the key.
func TestAppRotateKeyToASignerAndBack(t *testing.T) {
	w := newStoreWorld(t)
	w.add()
	url := "file://" + w.key
	out, errs, status := w.run(t, "app", "rotate-key", "--signer", url)
	if status != 0 || !strings.Contains(out, "new  "+w.fingerprint+" (RSA, 2048 bits), at "+url) || strings.Contains(out, "delete") {
		t.Errorf("rotate-key --signer = %d, %q, %q, want the key's new place", status, out, errs)
	}
	w.wants("to a signer", map[string]string{"app-client-id": w.app.ClientID, "signer": url, "github-url": w.URL()})
	out, errs, status = w.run(t, "app", "rotate-key", "--private-key-file", w.key, "--json")
	r := decode[app.RotationReport](t, out)
	if status != 0 || !r.Changed || r.Old.Signer != url || r.New.Signer != "" || r.Old.Fingerprint != r.New.Fingerprint {
		t.Errorf("rotate-key back = %d, %+v, %q, want it in the store", status, r, errs)
	}
	w.wants("back", map[string]string{"app-client-id": w.app.ClientID, "private-key": "PEM", "github-url": w.URL()})
}

func TestAppRotateKeyMendsADamagedKey(t *testing.T) {
	w := newStoreWorld(t)
	w.add()
	before := w.kept()
	w.put(map[string]string{"private-key": "no key"})
	if _, errs, status := w.run(t, "app", "status"); status != 1 || !strings.Contains(errs, "set the App's key again: gatepass app rotate-key") {
		t.Errorf("app status with a damaged key = %d, %q, want what to do", status, errs)
	}
	out, errs, status := w.run(t, "app", "rotate-key", "--private-key-file", w.key)
	if status != 0 || !strings.Contains(out, "old  cannot be read: read config/github/private-key: it has no PEM block") {
		t.Errorf("rotate-key = %d, %q, %q, want the key set anew", status, out, errs)
	}
	w.wants("a damaged key", before)
}

func TestAppRotateKeyRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newStoreWorld(t)
	key := []string{"--private-key-file", w.key}
	w.refuses("rotate-key", []refusal{{"no App", key, 1, "this store has no App"}})
	w.add()
	pem, err := os.ReadFile(w.other)
	if err != nil {
		t.Fatal(err)
	}
	w.refuses("rotate-key", []refusal{
		{"another App's key", []string{"--private-key-file", w.other}, 1, "GitHub does not accept the key SHA256:"},
		{"another App's signer", []string{"--signer", "file://" + w.other}, 1, "GitHub does not accept the key SHA256:"},
		{"the key for its path", []string{"--private-key-file", string(pem)}, 1, "this is the key itself"},
		{"no key", nil, 2, "give --private-key-file or --signer"},
		{"two keys", append(key, "--signer", "file://"+w.other), 2, "give either --private-key-file or --signer"},
		{"nothing to import", []string{"--signer", "file://" + w.key, "--key-to", "awskms:///alias/x"}, 2, "give --private-key-file or --signer; --key-to needs --private-key-file"},
		{"no KMS", append(key, "--key-to", "file://"+w.other), 1, "a key can be imported only into awskms:// or vault+transit://"},
		{"a KMS without a region", append(key, "--key-to", "awskms:///alias/x"), 1, "the AWS region is not set"},
		{"an argument", append(key, "now"), 2, `unexpected argument "now"`},
	})
}

// From the store into a real Vault: GitHub accepts what Vault signs, and the store no
// longer has a key.
func TestRealAppRotateKeyIntoVault(t *testing.T) {
	w := newStoreWorld(t)
	mount := w.transit(t)
	w.install("acme", 11)
	w.add()
	path, public := w.secondKey()
	url := "vault+transit://" + mount + "/gatepass"
	out, errs, status := w.run(t, "app", "rotate-key", "--private-key-file", path, "--key-to", url, "--dry-run")
	if status != 0 || !strings.Contains(out, "nothing was changed") {
		t.Fatalf("rotate-key --dry-run = %d, %q, %q, want 0", status, out, errs)
	}
	if _, _, status := w.run(t, "app", "key", "check", "--app-client-id", w.app.ClientID, "--signer", url); status != 1 {
		t.Error("the dry run has made a key in Vault")
	}
	for range 2 { // the second time the key exists already
		out, errs, status = w.run(t, "app", "rotate-key", "--private-key-file", path, "--key-to", url)
		if status != 0 || !strings.Contains(out, mint.Fingerprint(public)+" (RSA, 2048 bits), at "+url) && !strings.Contains(out, "already") {
			t.Fatalf("rotate-key --key-to = %d, %q, %q, want the key in Vault", status, out, errs)
		}
	}
	w.wants("rotate-key --key-to", map[string]string{"app-client-id": w.app.ClientID, "signer": url, "github-url": w.URL(), "installations/acme": "11"})
	if out, errs, status := w.run(t, "app", "status"); status != 0 || !strings.Contains(out, "at "+url+", accepted by GitHub") {
		t.Errorf("app status = %d, %q, %q, want the key in Vault", status, out, errs)
	}
}
