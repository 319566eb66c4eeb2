package vaultstore

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/kubernetestest"
)

// secretForAll makes a secret in a KV engine, and a policy that may read it.
func (v *vault) secretForAll() (source, policy string) {
	v.t.Helper()
	mount := v.kv("", "2")
	v.post(mount+"/data/x", map[string]any{"data": map[string]any{"token": secret}})
	return "vault://" + mount + "/x", v.policy(`path "` + mount + `/data/*" { capabilities = ["read"] }`)
}

// appRole makes a role and returns the query of a source that logs in with it, and its
// path in Vault. The secret ID works for a number of logins; 0 for any number.
func (v *vault) appRole(policy string, settings map[string]any, logins int) (query, secretFile, role string) {
	v.t.Helper()
	mount := v.mountLogin("approle")
	role = "auth/" + mount + "/role/r"
	body := map[string]any{"token_policies": policy, "secret_id_num_uses": logins}
	for key, value := range settings {
		body[key] = value
	}
	v.post(role, body)
	roleID := v.call(http.MethodGet, role+"/role-id", nil)["data"].(map[string]any)["role_id"].(string)
	secretID := v.data(role+"/secret-id", nil)["secret_id"].(string)
	secretFile = writeFile(v.t, secretID+"\n")
	v.t.Setenv("VAULT_TOKEN", "")
	return "auth=approle&auth_mount=" + mount + "&role_id_file=" + writeFile(v.t, roleID) + "&secret_id_file=" + secretFile, secretFile, role
}

func TestRealAppRole(t *testing.T) {
	v := realVault(t)
	source, policy := v.secretForAll()
	query, secretFile, _ := v.appRole(policy, nil, 1)
	s := open(t, source+"?"+query)
	wantToken(t, s, secret, time.Hour)
	before := v.tokens()
	wantToken(t, s, secret, time.Hour)
	if after := v.tokens(); after != before {
		t.Errorf("%d Vault tokens after a second read, want %d as before", after, before)
	}
	_, err := open(t, source+"?"+query).Token(t.Context(), widgets)
	checkError(t, err, "by approle: Vault does not accept the login", "check role ID and secret ID (a secret ID expires and has a limited number of uses); deliver a new one", "deliver a new one to "+secretFile)
}

func TestRealLoginThatExpired(t *testing.T) {
	v := realVault(t)
	source, policy := v.secretForAll()
	query, _, _ := v.appRole(policy, map[string]any{"token_ttl": "1s", "token_max_ttl": "1s"}, 0)
	s := open(t, source+"?"+query)
	wantToken(t, s, secret, time.Hour)
	time.Sleep(1500 * time.Millisecond)
	wantToken(t, s, secret, time.Hour)
}

// The secret ID is used up by the first login, so that only renewals can keep
// the second read going.
func TestRealRenewal(t *testing.T) {
	for range 10 {
		if v := realVault(t); renews(t, v) {
			return
		}
	}
	t.Error("this machine was late ten times")
}

// renews reads for twice as long as one login of two seconds lasts. It returns false if
// this machine was too late for a renewal.
func renews(t *testing.T, v *vault) bool {
	t.Helper()
	source, policy := v.secretForAll()
	query, _, _ := v.appRole(policy, map[string]any{"token_ttl": "2s", "token_max_ttl": "1h"}, 1)
	s := open(t, source+"?"+query)
	last := time.Now()
	wantToken(t, s, secret, time.Hour)
	for range 16 {
		time.Sleep(250 * time.Millisecond)
		begun := time.Now()
		s.Upkeep(t.Context())
		if time.Since(last) > time.Second {
			return false
		}
		last = begun
	}
	_, err := s.Token(t.Context(), widgets)
	if err != nil && time.Since(last) > time.Second {
		return false
	}
	wantToken(t, s, secret, time.Hour)
	return true
}

func TestRealRevokedLoginIsReplaced(t *testing.T) {
	v := realVault(t)
	source, policy := v.secretForAll()
	query, _, role := v.appRole(policy, nil, 0)
	s := open(t, source+"?"+query)
	wantToken(t, s, secret, time.Hour)
	v.post("sys/leases/revoke-prefix/"+strings.TrimSuffix(role, "/role/r"), nil)
	wantToken(t, s, secret, time.Hour)
}

// signJWT makes a JWT that expires in five minutes.
func signJWT(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	now := time.Now()
	claims["iat"], claims["exp"] = now.Unix(), now.Add(5*time.Minute).Unix()
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := encode(map[string]string{"alg": "RS256", "typ": "JWT"}) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func newKey(t *testing.T) (key *rsa.PrivateKey, publicPEM string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestRealJWT(t *testing.T) {
	v := realVault(t)
	source, policy := v.secretForAll()
	mount := v.mountLogin("jwt")
	key, public := newKey(t)
	v.post("auth/"+mount+"/config", map[string]any{"jwt_validation_pubkeys": []string{public}})
	v.post("auth/"+mount+"/role/ci", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": policy})
	t.Setenv("VAULT_TOKEN", "")
	query := func(claims map[string]any) string {
		return source + "?auth=jwt&role=ci&auth_mount=" + mount + "&jwt_file=" + writeFile(t, signJWT(t, key, claims))
	}
	wantToken(t, open(t, query(map[string]any{"sub": "me", "aud": "vault"})), secret, time.Hour)
	_, err := open(t, query(map[string]any{"sub": "me", "aud": "elsewhere"})).Token(t.Context(), widgets)
	checkError(t, err, "by jwt: Vault does not accept the login", "audience", "check that the role ci of auth/"+mount)
}

// tokenReview is the one endpoint of Kubernetes that Vault calls, and knows one service
// account.
type tokenReview struct {
	t         *testing.T
	jwt, name string
}

func (k tokenReview) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Kind string
		Spec struct {
			Token     string
			Audiences []string
		}
	}
	if r.Method != http.MethodPost || r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" ||
		!strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") || json.NewDecoder(r.Body).Decode(&review) != nil {
		k.t.Errorf("Kubernetes was asked %s %s, want a TokenReview", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	status := map[string]any{"authenticated": false, "error": "unknown"}
	if review.Spec.Token == k.jwt {
		status = map[string]any{"authenticated": true, "audiences": review.Spec.Audiences, "user": map[string]any{
			"username": "system:serviceaccount:sandbox:" + k.name, "uid": "uid-1", "groups": []string{"system:serviceaccounts"},
		}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
}

func serviceAccount(name string) map[string]any {
	return map[string]any{
		"iss": "https://kubernetes.default.svc", "aud": []string{"vault"}, "sub": "system:serviceaccount:sandbox:" + name,
		"kubernetes.io": map[string]any{"namespace": "sandbox", "serviceaccount": map[string]any{"name": name, "uid": "uid-1"}},
	}
}

func TestRealKubernetes(t *testing.T) {
	v := realVault(t)
	source, policy := v.secretForAll()
	mount := v.mountLogin("kubernetes")
	key, _ := newKey(t)
	jwt := signJWT(t, key, serviceAccount("agent"))
	api := httptest.NewTLSServer(tokenReview{t, jwt, "agent"})
	defer api.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}))
	v.post("auth/"+mount+"/config", map[string]any{"kubernetes_host": api.URL, "kubernetes_ca_cert": ca, "disable_local_ca_jwt": true})
	v.post("auth/"+mount+"/role/sandbox", map[string]any{
		"bound_service_account_names": "agent", "bound_service_account_namespaces": "sandbox", "token_policies": policy,
	})
	t.Setenv("VAULT_TOKEN", "")
	query := source + "?auth=kubernetes&role=sandbox&auth_mount=" + mount + "&jwt_file="
	wantToken(t, open(t, query+writeFile(t, jwt)), secret, time.Hour)
	_, err := open(t, query+writeFile(t, signJWT(t, key, serviceAccount("stranger")))).Token(t.Context(), widgets)
	checkError(t, err, "by kubernetes: Vault does not accept the login", "check that the role sandbox of auth/"+mount)
}

// The same with a real API server, which Vault asks with the account of a reviewer.
func TestRealKubernetesLogin(t *testing.T) {
	v := realVault(t)
	c := kubernetestest.New(t)
	source, policy := v.secretForAll()
	mount, namespace := v.mountLogin("kubernetes"), c.Namespace()
	reviewer := c.Token(namespace, "reviewer", nil)
	c.Grant("system:auth-delegator", kubernetestest.Fields{"kind": "ServiceAccount", "name": "reviewer", "namespace": namespace})
	v.post("auth/"+mount+"/config", map[string]any{
		"kubernetes_host": c.Host, "kubernetes_ca_cert": string(c.CA), "token_reviewer_jwt": reviewer, "disable_local_ca_jwt": true,
	})
	v.post("auth/"+mount+"/role/sandbox", map[string]any{
		"bound_service_account_names": "agent", "bound_service_account_namespaces": namespace, "token_policies": policy,
	})
	t.Setenv("VAULT_TOKEN", "")
	query := source + "?auth=kubernetes&role=sandbox&auth_mount=" + mount + "&jwt_file="
	wantToken(t, open(t, query+writeFile(t, c.Token(namespace, "agent", nil))), secret, time.Hour)
	_, err := open(t, query+writeFile(t, c.Token(namespace, "stranger", nil))).Token(t.Context(), widgets)
	checkError(t, err, "by kubernetes: Vault does not accept the login", "check that the role sandbox of auth/"+mount)
}
