package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/app"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/gatepass/gatepass/test/vaulttest"
)

// An appWorld is a GitHub with one App, and files with its key and another.
type appWorld struct {
	*fakegithub.Server
	app             fakegithub.App
	key, other      string
	fingerprint, ca string
	variables       []string // in addition to those for reaching GitHub
}

func newAppWorld(t *testing.T) *appWorld {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w := &appWorld{Server: gh, ca: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(w.ca, gh.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	var public *rsa.PublicKey
	w.key, public = writeKey(t, appKeys[0])
	w.other, _ = writeKey(t, appKeys[1])
	w.fingerprint = mint.Fingerprint(public)
	w.app, err = gh.AddApp(fakegithub.App{
		Slug: "sandbox-pass", Name: "Sandbox\u202e Pass", Owner: "acme", Keys: []*rsa.PublicKey{public},
		Permissions: fakegithub.Permissions{"contents": "write"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// appKeys are the two keys of every appWorld.
var appKeys = [2]*rsa.PrivateKey{testkey.RSA(2048, 0), testkey.RSA(2048, 1)}

func newAppKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// writeAppKey writes a key that no other test has.
func writeAppKey(t *testing.T) (path string, public *rsa.PublicKey) {
	t.Helper()
	return writeKey(t, newAppKey())
}

func writeKey(t *testing.T, key *rsa.PrivateKey) (path string, public *rsa.PublicKey) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "app.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, &key.PublicKey
}

func (w *appWorld) check(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return w.appKey(t, append([]string{"check"}, args...)...)
}

// appKey runs "gatepass app key".
func (w *appWorld) appKey(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return w.run(t, append([]string{"app", "key"}, args...)...)
}

// command returns gatepass as a separate process.
func (w *appWorld) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "gatepass", args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GOGC=" + os.Getenv("GOGC"), "HOME=" + t.TempDir(), "SSL_CERT_FILE=" + w.ca, "GATEPASS_GITHUB_URL=" + w.URL()}, w.variables...)
	return cmd
}

func (w *appWorld) run(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := w.command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if err != nil && !failed {
		t.Fatal(err)
	}
	if failed {
		status = exit.ExitCode()
	}
	return out.String(), errs.String(), status
}

func TestAppKeyCheck(t *testing.T) {
	w := newAppWorld(t)
	for _, key := range [][]string{{"--private-key-file", w.key}, {"--signer", "file://" + w.key}} {
		out, errs, status := w.check(t, append([]string{"--app-client-id", w.app.ClientID}, key...)...)
		if status != 0 || errs != "" {
			t.Fatalf("check %s = %d, %q, want 0", key, status, errs)
		}
		for _, want := range []string{
			`the key belongs to the App Sandbox\u202e Pass` + "\n", "slug           sandbox-pass\n", "owner          acme\n",
			"client ID      " + w.app.ClientID + "\n", "key            " + w.fingerprint + " (RSA, 2048 bits)\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("check %s prints\n%s\nwant %q in it", key, out, want)
			}
		}
	}
	out, _, _ := w.check(t, "--json", "--app-client-id", w.app.ClientID, "--private-key-file", w.key)
	var report app.KeyReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.App.ID != w.app.ID || report.App.Owner != "acme" ||
		report.App.Permissions["contents"] != "write" || report.Key.Fingerprint != w.fingerprint {
		t.Errorf("check --json = %+v, %v, want the App and its key", report, err)
	}
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens were minted, want none", len(live))
	}
}

const (
	googleKey = "gcpkms://projects/acme/locations/global/keyRings/git/cryptoKeys/app"
	azureKey  = "azurekeys://acme-git.vault.azure.net/app"
)

func TestAppKeyCheckFails(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newAppWorld(t)
	w.variables = []string{"GOOGLE_APPLICATION_CREDENTIALS=/does/not/exist", "AZURE_TOKEN_CREDENTIALS=none"} // no request is made
	open := filepath.Join(t.TempDir(), "open.pem")
	if err := errors.Join(os.WriteFile(open, nil, 0o644), os.Chmod(open, 0o644)); err != nil {
		t.Fatal(err)
	}
	id := []string{"--app-client-id", w.app.ClientID}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"another App's key", append(id, "--private-key-file", w.other), 1, "GitHub does not accept the key SHA256:"},
		{"no such App", []string{"--app-client-id", "Iv23liNobody", "--private-key-file", w.key}, 1, "check the key of the App Iv23liNobody: GitHub has no App with this ID; copy the client ID from the App's settings"},
		{"a key that all can read", append(id, "--private-key-file", open), 1, "run chmod 600 on it"},
		{"not a signer", append(id, "--signer", "env://KEY"), 1, "unknown signer env://"},
		{"a KMS without a region", append(id, "--signer", "awskms:///alias/x"), 1, "look at the KMS key alias/x: the AWS region is not set"},
		{"a Google key without credentials", append(id, "--signer", googleKey), 1, "choose a version of the Google Cloud KMS key projects/acme/locations/global/keyRings/git/cryptoKeys/app: the Google credentials cannot be read: open /does/not/exist: "},
		{"an Azure key without credentials", append(id, "--signer", azureKey), 1, "look at the Azure key acme-git.vault.azure.net/app: the credentials cannot be chosen: "},
		{"a Vault without an address", append(id, "--signer", "vault+transit://transit/x"), 1, "the address of Vault is not set"},
		{"no GitHub there", append(id, "--private-key-file", w.key, "--github-url", "http://github.test"), 2, "want https://HOST"},
		{"no App", []string{"--private-key-file", w.key}, 2, "--app-client-id is missing"},
		{"no key", id, 2, "give either --private-key-file or --signer"},
		{"two keys", append(id, "--private-key-file", w.key, "--signer", "file://"+w.key), 2, "give either --private-key-file or --signer"},
		{"an argument", append(id, "now"), 2, `unexpected argument "now"`},
	} {
		out, errs, status := w.check(t, c.args...)
		if status != c.status || out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "gatepass: ") || !strings.Contains(errs, c.want) {
			t.Errorf("%s: check = %d, %q, %q, want %d and one line with %q", c.name, status, out, errs, c.status, c.want)
		}
		if strings.Contains(errs, "eyJ") || strings.Contains(errs, "PRIVATE KEY") {
			t.Errorf("%s: %q shows a secret", c.name, errs)
		}
	}
}

func TestAppKeyImportRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newAppWorld(t)
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"no target", []string{"--private-key-file", w.key}, 2, "give both --private-key-file and --to"},
		{"no key", []string{"--to", "awskms:///alias/x"}, 2, "give both --private-key-file and --to"},
		{"a file as the target", []string{"--private-key-file", w.key, "--to", "file://" + w.other}, 2, "--to must be awskms:// or vault+transit://"},
		{"an unknown target", []string{"--private-key-file", w.key, "--to", "env://KEY"}, 1, "unknown signer env://"},
		{"Google Cloud KMS", []string{"--private-key-file", w.key, "--to", googleKey}, 2, "--to must be awskms:// or vault+transit://"},
		{"Azure Key Vault", []string{"--private-key-file", w.key, "--to", azureKey}, 2, "--to must be awskms:// or vault+transit://"},
		{"no key there", []string{"--private-key-file", w.key + "x", "--to", "awskms:///alias/x"}, 1, "read the App's key: open "},
		{"a KMS without a region", []string{"--private-key-file", w.key, "--to", "awskms:///alias/x"}, 1, "the AWS region is not set"},
	} {
		out, errs, status := w.appKey(t, append([]string{"import"}, c.args...)...)
		if status != c.status || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: import = %d, %q, %q, want %d and one line with %q", c.name, status, out, errs, c.status, c.want)
		}
	}
}

// From a PEM file to a key that only a real Vault has, and that GitHub still accepts.
func TestRealAppKeyImport(t *testing.T) {
	w := newAppWorld(t)
	url := "vault+transit://" + w.transit(t) + "/gatepass"
	out, errs, status := w.appKey(t, "import", "--private-key-file", w.key, "--to", url)
	if status != 0 || !strings.HasPrefix(out, "the key "+w.fingerprint+" is in "+url+"\n") {
		t.Fatalf("import = %d, %q, %q, want the key in Vault", status, out, errs)
	}
	if err := os.Remove(w.key); err != nil {
		t.Fatal(err)
	}
	out, errs, status = w.check(t, "--app-client-id", w.app.ClientID, "--signer", url)
	if status != 0 || !strings.Contains(out, w.fingerprint) {
		t.Errorf("check = %d, %q, %q, want the same key", status, out, errs)
	}
}

// transit makes a transit engine in a real Vault, which the commands then use.
func (w *appWorld) transit(t *testing.T) (mount string) {
	t.Helper()
	address := os.Getenv("GATEPASS_TEST_VAULT_ADDR")
	if address == "" {
		t.Skip("missing: Vault (make test-real sets GATEPASS_TEST_VAULT_ADDR)")
	}
	token := os.Getenv("GATEPASS_TEST_VAULT_TOKEN")
	w.variables = append(w.variables, "VAULT_ADDR="+address, "VAULT_TOKEN="+token)
	mount = fmt.Sprintf("t%d", time.Now().UnixNano())
	vaulttest.Root(t, http.MethodPost, address+"/v1/sys/mounts/"+mount, token, `{"type":"transit"}`)
	t.Cleanup(func() { vaulttest.Root(t, http.MethodDelete, address+"/v1/sys/mounts/"+mount, token, "") })
	return mount
}
