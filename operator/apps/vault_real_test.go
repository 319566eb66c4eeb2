package apps

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// A vault is a real one, as its root sees it.
type vault struct {
	t             *testing.T
	address, root string
	name          string // of what this test mounts
}

func realVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{t: t, address: os.Getenv("GATEPASS_TEST_VAULT_ADDR"), root: os.Getenv("GATEPASS_TEST_VAULT_TOKEN")}
	if v.address == "" {
		t.Skip("missing: Vault (make test-real sets GATEPASS_TEST_VAULT_ADDR)")
	}
	v.name = "t" + strconv.FormatInt(time.Now().UnixNano(), 36)
	return v
}

// call is one request of the root user, which has to succeed.
func (v *vault) call(method, path string, body any) (data map[string]any) {
	v.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	request, err := http.NewRequest(method, v.address+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", v.root)
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Data   map[string]any
		Errors []string
	}
	_ = json.NewDecoder(response.Body).Decode(&answer)
	if response.StatusCode/100 != 2 {
		v.t.Fatalf("%s %s = %s %v", method, path, response.Status, answer.Errors)
	}
	return answer.Data
}

// transit makes an engine with a key.
func (v *vault) transit(key string) {
	v.t.Helper()
	v.call(http.MethodPost, "sys/mounts/"+v.name, map[string]any{"type": "transit"})
	v.t.Cleanup(func() { v.call(http.MethodDelete, "sys/mounts/"+v.name, nil) })
	v.call(http.MethodPost, v.name+"/keys/"+key, map[string]any{"type": "rsa-2048"})
}

// public returns the public half of a version of a key.
func (v *vault) public(key string, version int) *rsa.PublicKey {
	v.t.Helper()
	versions := v.call(http.MethodGet, v.name+"/keys/"+key, nil)["keys"].(map[string]any)
	text := versions[fmt.Sprint(version)].(map[string]any)["public_key"].(string)
	block, _ := pem.Decode([]byte(text))
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		v.t.Fatal(err)
	}
	return parsed.(*rsa.PublicKey)
}

// byKubernetes lets a service account log in, to sign with one key.
func (v *vault) byKubernetes(c *kubernetestest.Cluster, key string) (login VaultLogin) {
	v.t.Helper()
	namespace := c.Namespace()
	reviewer := c.Token(namespace, "reviewer", nil)
	c.Grant("system:auth-delegator", kubernetestest.Fields{"kind": "ServiceAccount", "name": "reviewer", "namespace": namespace})
	v.call(http.MethodPost, "sys/auth/"+v.name, map[string]any{"type": "kubernetes"})
	v.t.Cleanup(func() { v.call(http.MethodDelete, "sys/auth/"+v.name, nil) })
	v.call(http.MethodPost, "auth/"+v.name+"/config", map[string]any{
		"kubernetes_host": c.Host, "kubernetes_ca_cert": string(c.CA), "token_reviewer_jwt": reviewer, "disable_local_ca_jwt": true,
	})
	v.call(http.MethodPut, "sys/policies/acl/"+v.name, map[string]any{"policy": fmt.Sprintf(
		"path \"%[1]s/keys/%[2]s\" { capabilities = [\"read\"] }\npath \"%[1]s/sign/%[2]s\" { capabilities = [\"update\"] }", v.name, key,
	)})
	v.t.Cleanup(func() { v.call(http.MethodDelete, "sys/policies/acl/"+v.name, nil) })
	v.call(http.MethodPost, "auth/"+v.name+"/role/gatepass", map[string]any{
		"bound_service_account_names": "gatepass-operator", "bound_service_account_namespaces": namespace, "token_policies": v.name,
	})
	jwt := filepath.Join(v.t.TempDir(), "token")
	write(v.t, jwt, c.Token(namespace, "gatepass-operator", nil))
	return VaultLogin{"addr": v.address, "auth": "kubernetes", "auth_mount": v.name, "role": "gatepass", "jwt_file": jwt}
}

// github-token-manager had no login and no renewal at Vault, and broke once the key had
// a second version.
func TestVaultByAServiceAccount(t *testing.T) {
	v := realVault(t)
	c := kubernetestest.New(t)
	t.Setenv("VAULT_ADDR", "")
	t.Setenv("VAULT_TOKEN", "")
	v.transit("app")
	v.call(http.MethodPost, v.name+"/keys/other", map[string]any{"type": "rsa-2048"})
	login := v.byKubernetes(c, "app")

	w := newWorldWith(t, fakegithub.Options{})
	for version := 1; version <= 2; version++ {
		if version == 2 {
			v.call(http.MethodPost, v.name+"/keys/app/rotate", nil)
		}
		if err := w.AddKey(w.app.ID, v.public("app", version)); err != nil {
			t.Fatal(err)
		}
		app := w.withVault(t, login, v.name+"/sign/app")
		if _, err := app.Mint(t.Context(), w.grant()); err != nil {
			t.Fatalf("Mint with version %d of the key = %v", version, err)
		}
		if _, err := app.Mint(t.Context(), w.grant()); err != nil {
			t.Errorf("the second mint = %v", err)
		}
		v.call(http.MethodPut, "sys/leases/revoke-prefix/auth/"+v.name, nil)
		if _, err := app.Signer.Sign(t.Context(), sha256.Sum256([]byte("x"))); err != nil {
			t.Errorf("Sign after Vault revoked the login = %v, want another login", err)
		}
	}

	app := w.withVault(t, login, v.name+"/sign/other")
	_, err := app.Mint(t.Context(), w.grant())
	if err == nil {
		t.Fatal("Mint with a key that the role does not have = nil")
	}
	got := app.Explain(err)
	for _, want := range []string{"permission denied", "in a policy of the role gatepass"} {
		if !strings.Contains(got, want) {
			t.Errorf("Explain = %s, want %q in it", got, want)
		}
	}
}

// withVault is the operator's own App with a key in Vault.
func (w *world) withVault(t *testing.T, login VaultLogin, key string) *App {
	t.Helper()
	text := fmt.Sprintf("client_id: %s\nprovider: vault\nkey: %s\nvault:\n", w.app.ClientID, key)
	for name, value := range login {
		text += "  " + name + ": " + value + "\n"
	}
	path := filepath.Join(t.TempDir(), "gatepass.yaml")
	write(t, path, text)
	own, err := OpenConfig(path, variablesOf())
	if err != nil {
		t.Fatal(err)
	}
	r := &Registry{GitHub: w.registry.GitHub, Client: w.registry.Client, Own: own}
	app, err := r.Get(t.Context(), Ref{})
	if err != nil || app.Provider != v1.ProviderVault {
		t.Fatalf("Get = %v, %v", app, err)
	}
	return app
}
