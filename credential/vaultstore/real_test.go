package vaultstore

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// vault is a real one, used as its root. Each test mounts what it needs under names of
// its own.
type vault struct {
	t             *testing.T
	address, root string
	name          string
}

func realVault(t *testing.T) *vault {
	t.Helper()
	address := os.Getenv("GATEPASS_TEST_VAULT_ADDR")
	if address == "" {
		t.Skip("missing: Vault (make test-real sets GATEPASS_TEST_VAULT_ADDR)")
	}
	isolate(t)
	t.Setenv("VAULT_ADDR", address)
	v := &vault{t: t, address: address, root: os.Getenv("GATEPASS_TEST_VAULT_TOKEN")}
	v.name = "t" + strconv.FormatInt(time.Now().UnixNano(), 36)
	t.Setenv("VAULT_TOKEN", v.root)
	return v
}

// call makes one request as root, which must succeed.
func (v *vault) call(method, path string, body any) map[string]any {
	v.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(v.t.Context(), method, v.address+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", v.root)
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(response.Body).Decode(&answer)
	if response.StatusCode/100 != 2 {
		v.t.Fatalf("%s %s = %s %v", method, path, response.Status, answer["errors"])
	}
	return answer
}

func (v *vault) post(path string, body map[string]any) map[string]any {
	v.t.Helper()
	return v.call(http.MethodPost, path, body)
}

// data returns the data of a post.
func (v *vault) data(path string, body map[string]any) map[string]any {
	v.t.Helper()
	data, _ := v.post(path, body)["data"].(map[string]any)
	return data
}

// kv mounts a KV engine and returns its path, without a slash at the end.
func (v *vault) kv(path, version string) string {
	v.t.Helper()
	path = v.name + path
	v.post("sys/mounts/"+path, map[string]any{"type": "kv", "options": map[string]any{"version": version}})
	v.t.Cleanup(func() { v.cleanUp("sys/mounts/" + path) })
	if version == "2" {
		v.await(path)
	}
	return path
}

func (v *vault) cleanUp(path string) {
	request, _ := http.NewRequest(http.MethodDelete, v.address+"/v1/"+path, nil)
	request.Header.Set("X-Vault-Token", v.root)
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
	}
}

// await waits until an engine of version 2 is ready, which takes a moment.
func (v *vault) await(mount string) {
	v.t.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		request, _ := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.address+"/v1/"+mount+"/data/ready", strings.NewReader(`{"data":{}}`))
		request.Header.Set("X-Vault-Token", v.root)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(until) {
			v.t.Fatalf("the engine at %s does not get ready", mount)
		}
	}
}

func (v *vault) policy(rules string) string {
	v.t.Helper()
	v.post("sys/policies/acl/"+v.name, map[string]any{"policy": rules})
	return v.name
}

// mountLogin mounts a login method and returns its path below auth/.
func (v *vault) mountLogin(kind string) string {
	v.t.Helper()
	v.post("sys/auth/"+v.name+kind, map[string]any{"type": kind})
	v.t.Cleanup(func() { v.cleanUp("sys/auth/" + v.name + kind) })
	return v.name + kind
}

// tokens counts Vault's live tokens.
func (v *vault) tokens() int {
	v.t.Helper()
	data, _ := v.call("LIST", "auth/token/accessors", nil)["data"].(map[string]any)
	list, _ := data["keys"].([]any)
	return len(list)
}

func wantToken(t *testing.T, s *Source, want string, lives time.Duration) {
	t.Helper()
	token, err := s.Token(t.Context(), widgets)
	if err != nil || token.Secret() != want || !near(token.Expiry, lives) {
		t.Errorf("Token = %v for %v, %v, want %s for %v", token, time.Until(token.Expiry), err, credential.NewToken(want, time.Time{}), lives)
	}
}

func TestRealKV2(t *testing.T) {
	v := realVault(t)
	mount := v.kv("", "2")
	s := open(t, "vault://"+mount+"/sandbox/{workspace}/token")
	path := mount + "/data/sandbox/sb-1/token"
	_, err := s.Token(t.Context(), widgets)
	checkError(t, err, "there is no such secret", "check the path in the source, or deliver it on the issuing side: gatepass workspace create")

	v.post(path, map[string]any{"data": map[string]any{"token": secret}})
	wantToken(t, s, secret, time.Hour)
	end := time.Now().Add(30 * time.Minute).UTC()
	v.post(path, map[string]any{"data": map[string]any{"token": secret + "2", "expires_at": end.Format(time.RFC3339)}})
	wantToken(t, s, secret+"2", 30*time.Minute)
	wantToken(t, open(t, "vault://"+mount+"/sandbox/sb-1/token?kv=2"), secret+"2", 30*time.Minute)

	_, err = open(t, "vault://"+mount+"/sandbox/sb-1/token?field=nope").Token(t.Context(), widgets)
	checkError(t, err, "it has no field nope", "expires_at, token")
	_, err = open(t, "vault://"+mount+"/sandbox/sb-1/token?kv=1").Token(t.Context(), widgets)
	checkError(t, err, "this is a KV engine of version 2; leave kv=1 out")
	_, err = open(t, "vault://"+mount+"/data/sandbox/sb-1/token").Token(t.Context(), widgets)
	checkError(t, err, "write the path without data/")

	v.call(http.MethodDelete, path, nil)
	_, err = s.Token(t.Context(), widgets)
	checkError(t, err, "its newest version was deleted at 2")
	v.post(path, map[string]any{"data": map[string]any{"token": secret + "3"}})
	wantToken(t, s, secret+"3", time.Hour)
	v.post(mount+"/destroy/sandbox/sb-1/token", map[string]any{"versions": []int{3}})
	_, err = s.Token(t.Context(), widgets)
	checkError(t, err, "its newest version was deleted")
}

func TestRealKV1(t *testing.T) {
	v := realVault(t)
	mount := v.kv("one", "1")
	v.post(mount+"/a/b", map[string]any{"token": secret})
	wantToken(t, open(t, "vault://"+mount+"/a/b"), secret, unknownAge)
	wantToken(t, open(t, "vault://"+mount+"/a/b?kv=1"), secret, unknownAge)
	v.post(mount+"/a/b", map[string]any{"token": secret, "expires_at": time.Now().Add(time.Hour).Unix()})
	wantToken(t, open(t, "vault://"+mount+"/a/b"), secret, time.Hour)
	_, err := open(t, "vault://"+mount+"/a/b?kv=2").Token(t.Context(), widgets)
	checkError(t, err, "there is no such secret", "kv=2 is only for KV engines of version 2 with a mount of one segment")
}

func TestRealMounts(t *testing.T) {
	v := realVault(t)
	mount := v.kv("/team/kv", "2")
	v.post(mount+"/data/x", map[string]any{"data": map[string]any{"token": secret}})
	wantToken(t, open(t, "vault://"+mount+"/x"), secret, time.Hour)
	_, err := open(t, "vault://nope/x").Token(t.Context(), widgets)
	checkError(t, err, "permission denied, or there is no secrets engine at nope/")
	_, err = open(t, "vault://nope/x?kv=2").Token(t.Context(), widgets)
	checkError(t, err, "there is no secrets engine at nope/")
}

func TestRealLease(t *testing.T) {
	v := realVault(t)
	v.post("sys/mounts/"+v.name, map[string]any{"type": "leased"})
	t.Cleanup(func() { v.cleanUp("sys/mounts/" + v.name) })
	v.post(v.name+"/token", map[string]any{"ttl": 600})
	wantToken(t, open(t, "vault://"+v.name+"/token"), "ghs_leased0123456789", 10*time.Minute)
	v.post(v.name+"/token", map[string]any{"ttl": 600, "expires_at": time.Now().Add(5 * time.Minute).UTC().Format(time.RFC3339)})
	wantToken(t, open(t, "vault://"+v.name+"/token/ci"), "ghs_leased0123456789", 5*time.Minute)
}

func TestRealPolicies(t *testing.T) {
	v := realVault(t)
	mount := v.kv("", "2")
	v.post(mount+"/data/mine", map[string]any{"data": map[string]any{"token": secret}})
	v.post(mount+"/data/other", map[string]any{"data": map[string]any{"token": secret}})
	policy := v.policy(`path "` + mount + `/data/mine" { capabilities = ["read"] }`)
	auth := v.post("auth/token/create", map[string]any{"policies": []string{policy}, "ttl": "1h"})["auth"].(map[string]any)
	t.Setenv("VAULT_TOKEN", auth["client_token"].(string))
	wantToken(t, open(t, "vault://"+mount+"/mine"), secret, time.Hour)
	_, err := open(t, "vault://"+mount+"/other").Token(t.Context(), widgets)
	checkError(t, err, "permission denied; allow read on "+mount+"/data/other")
	_, err = open(t, "vault://elsewhere/other").Token(t.Context(), widgets)
	checkError(t, err, "permission denied, or there is no secrets engine at elsewhere/")
	v.post("auth/token/revoke", map[string]any{"token": auth["client_token"]})
	_, err = open(t, "vault://"+mount+"/mine").Token(t.Context(), widgets)
	checkError(t, err, "Vault does not know the Vault token of VAULT_TOKEN: it expired, was revoked, or belongs to another Vault")
}

func TestRealSeal(t *testing.T) {
	v := realVault(t)
	key := os.Getenv("GATEPASS_TEST_VAULT_UNSEAL_KEY")
	mount := v.kv("", "2")
	v.post(mount+"/data/x", map[string]any{"data": map[string]any{"token": secret}})
	s := open(t, "vault://"+mount+"/x")
	v.call(http.MethodPut, "sys/seal", nil)
	_, err := s.Token(t.Context(), widgets)
	v.call(http.MethodPut, "sys/unseal", map[string]any{"key": key})
	checkError(t, err, "Vault is sealed; ask its operators to unseal it: vault operator unseal")
	v.await(mount)
	wantToken(t, s, secret, time.Hour)
}
