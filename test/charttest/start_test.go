package charttest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/kubernetestest"
	"github.com/gatepass/gatepass/test/testkey"
)

// quickStart is the page that this test does.
const quickStart = root + "/docs/start/kubernetes.md"

var (
	helmInstall = regexp.MustCompile("(?s)```sh\nhelm install (.*?)```")
	manifest    = regexp.MustCompile("(?s)```yaml\n# ([a-z]+\\.yaml)\n(.*?)```")
	applied     = regexp.MustCompile(`kubectl apply -f ([a-z]+\.yaml)`)
	readyToken  = regexp.MustCompile(`kubectl -n ([a-z-]+) wait --for=condition=Ready token/([a-z-]+)`)
)

// An app is an App at the double of GitHub, and its credentials as the folder of a store
// has them.
type app struct {
	github *fakegithub.Server
	store  string
}

func newApp(t *testing.T) app {
	t.Helper()
	a := app{store: t.TempDir()}
	var err error
	if a.github, err = fakegithub.New(fakegithub.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.github.Close() })
	key := testkey.RSA(2048, 0)
	made, err := a.github.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&key.PublicKey}, Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fleet", "deploy", "modules"} {
		if _, err := a.github.AddRepository(fakegithub.Repository{Owner: "acme", Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.github.AddInstallation(fakegithub.Installation{AppID: made.ID, Account: "acme", RepositorySelection: "all"}); err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, text := range map[string][]byte{"app-client-id": []byte(made.ClientID), "private-key": secret, "ca.pem": a.github.CAPEM()} {
		path := filepath.Join(a.store, "config/github", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSL_CERT_FILE", filepath.Join(a.store, "config/github/ca.pem"))
	return a
}

// rendered is what the page's helm command makes.
func rendered(t *testing.T, page string, a app) objects {
	t.Helper()
	command := helmInstall.FindStringSubmatch(page)
	if command == nil {
		t.Fatal("the page has no helm install")
	}
	line := strings.NewReplacer("/var/lib/gatepass/store", a.store, "deploy/helm/gatepass", chart, "--create-namespace", "", "--wait", "").Replace(command[1])
	sh := exec.CommandContext(t.Context(), "/bin/sh", "-c", program(t, "helm", "GATEPASS_TEST_HELM")+" template "+line)
	sh.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	text, err := sh.Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return parse(t, string(text))
}

// configFile writes the operator's configuration as its Secret has it.
func configFile(t *testing.T, all objects) string {
	t.Helper()
	dir := t.TempDir()
	for _, o := range all.all("Secret") {
		text, _ := at(o, "stringData").(fields)
		for name, value := range text {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(value.(string), "/config/", dir+"/")), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return filepath.Join(dir, "gatepass.yaml")
}

// TestRealQuickStart does what docs/start/kubernetes.md says: its helm command, then each
// of its files, until each Token is ready and GitHub knows what its Secret has.
func TestRealQuickStart(t *testing.T) {
	if os.Getenv("GATEPASS_TEST_BIN_DIR") == "" {
		t.Skip("missing: gatepass-operator (make test-real sets GATEPASS_TEST_BIN_DIR)")
	}
	text, err := os.ReadFile(quickStart)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	c := cluster(t, kubernetestest.Options{})
	a := newApp(t)
	for _, name := range []string{"gatepass", "flux-system", "argocd", "crossplane-system"} {
		namespace(t, c, name)
	}
	all := rendered(t, page, a)
	for _, o := range all {
		if !strings.HasPrefix(annotation(o, hook), "pre-delete") {
			c.ApplyObject(o)
		}
	}
	_, said := operate(t, c, all, "--config="+configFile(t, all), "--github-url="+a.github.URL())
	manifests := map[string]string{}
	for _, m := range manifest.FindAllStringSubmatch(page, -1) {
		manifests[m[1]] = m[2]
	}
	for _, m := range applied.FindAllStringSubmatch(page, -1) {
		for document := range strings.SplitSeq(manifests[m[1]], "\n---\n") {
			if strings.Contains(document, "gatepass.dev/") { // other kinds are not in this cluster
				c.ApplyText([]byte(document))
			}
		}
	}
	waits := readyToken.FindAllStringSubmatch(page, -1)
	if len(waits) != 3 || len(manifests) != 3 {
		t.Errorf("the page waits for %d Tokens and has %d files, want 3 of each", len(waits), len(manifests))
	}
	for _, w := range waits {
		kubernetestest.Wait(t, time.Minute, w[1]+"/"+w[2]+" to be ready", func() (bool, any) {
			found := c.Call(http.MethodGet, "/apis/gatepass.dev/v1/namespaces/"+w[1]+"/tokens/"+w[2], nil)
			return at(found, "status", "conditions", 0, "status") == "True", said
		})
		secret := c.Call(http.MethodGet, "/api/v1/namespaces/"+w[1]+"/secrets/"+w[2], nil)
		if !hasToken(t, a.github, secret) {
			t.Errorf("the Secret %s/%s has no token of GitHub's", w[1], w[2])
		}
	}
}

// hasToken reports whether a value of a Secret contains a live token.
func hasToken(t *testing.T, github *fakegithub.Server, secret fields) bool {
	t.Helper()
	data, _ := secret["data"].(fields)
	for _, value := range data {
		text, err := base64.StdEncoding.DecodeString(value.(string))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`ghs_[A-Za-z0-9_]+`).FindAllString(string(text), -1) {
			for _, known := range github.Tokens() {
				if known.Hash == fakegithub.Hash(found) {
					return true
				}
			}
		}
	}
	return false
}
