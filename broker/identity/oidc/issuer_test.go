package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/test/testkey"
)

// audience is the audience of the tokens in these tests.
const audience = "gatepass"

// start is the time of the tests.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Keys that take long to make are made once.
var (
	rsaKey      = sync.OnceValue(func() *rsa.PrivateKey { return testkey.RSA(2048, 0) })
	otherRSAKey = sync.OnceValue(func() *rsa.PrivateKey { return testkey.RSA(2048, 1) })
	ecKey       = sync.OnceValue(func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	})
)

func newRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

// An issuer publishes keys over https and signs what the test says.
type issuer struct {
	*httptest.Server
	caFile string
	store  storetest.Memory // shared by all replicas

	mu    sync.Mutex // guards what follows
	clock time.Time
	keys  map[string]any              // public, by kid
	serve map[string]http.HandlerFunc // handlers that replace a path's answer
	asked map[string]int              // by path
}

const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys"
)

// newIssuer makes an issuer with the keys "rsa" and "ec".
func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{clock: start, serve: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	i.keys = map[string]any{"rsa": &rsaKey().PublicKey, "ec": &ecKey().PublicKey}
	i.Server = httptest.NewUnstartedServer(i)
	i.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.StartTLS()
	t.Cleanup(i.Close)
	i.caFile = filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}
	if err := os.WriteFile(i.caFile, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked[r.URL.Path]++
	other := i.serve[r.URL.Path]
	keys := maps.Clone(i.keys)
	i.mu.Unlock()
	switch {
	case other != nil:
		other(w, r)
	case r.Method != http.MethodGet || r.Header.Get("Authorization") != "":
		http.Error(w, "want GET without a token", http.StatusBadRequest)
	case r.URL.Path == discoveryPath:
		writeJSON(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + keysPath})
	case r.URL.Path == keysPath && !strings.Contains(r.Header.Get("Accept"), "application/jwk-set+json"):
		w.WriteHeader(http.StatusNotAcceptable) // as Kubernetes does
	case r.URL.Path == keysPath:
		writeJSON(w, setOf(keys))
	default:
		http.NotFound(w, r)
	}
}

func setOf(keys map[string]any) jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	for kid, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k, KeyID: kid, Use: "sig"})
	}
	return set
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (i *issuer) now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.clock
}

func (i *issuer) pass(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock = i.clock.Add(d)
}

// answer replaces a path's answer; nil restores it.
func (i *issuer) answer(path string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serve[path] = h
}

func (i *issuer) publish(keys map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// times returns how often a path was requested.
func (i *issuer) times(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// identifier returns an Identifier that trusts the issuer; change modifies its
// settings.
func (i *issuer) identifier(t *testing.T, change func(*Settings)) *Identifier {
	t.Helper()
	s := Settings{Issuer: i.URL, Audience: audience, CAFile: i.caFile}
	if change != nil {
		change(&s)
	}
	identifier, err := newAt(s, &i.store, i.now)
	if err != nil {
		t.Fatal(err)
	}
	return identifier
}

// claims returns the claims of a valid token, changed; a nil removes one.
func (i *issuer) claims(changed map[string]any) map[string]any {
	now := i.now().Unix()
	c := map[string]any{"iss": i.URL, "aud": audience, "sub": "job 7", "iat": now, "nbf": now, "exp": now + 300, "jti": rand.Text()}
	for name, v := range changed {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

// token returns a token signed with the RSA key.
func (i *issuer) token(changed map[string]any) string {
	return signRSA(rsaKey(), map[string]any{"alg": "RS256", "kid": "rsa", "typ": "JWT"}, i.claims(changed))
}

func signRSA(key *rsa.PrivateKey, header, claims any) string {
	input := signingInput(marshal(header), marshal(claims))
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return input + "." + segment(signature)
}

func signEC(key *ecdsa.PrivateKey, header, claims any) string {
	input := signingInput(marshal(header), marshal(claims))
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	return input + "." + segment(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func signHMAC(key []byte, header, claims any) string {
	input := signingInput(marshal(header), marshal(claims))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(input))
	return input + "." + segment(mac.Sum(nil))
}

func signingInput(header, claims []byte) string { return segment(header) + "." + segment(claims) }

func segment(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// marshal returns JSON; it leaves text unchanged, for forms that no encoder writes.
func marshal(v any) []byte {
	if text, ok := v.(string); ok {
		return []byte(text)
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// identify sends a token.
func identify(ctx context.Context, by *Identifier, token string) (broker.Caller, error) {
	r := httptest.NewRequest(http.MethodPost, "/v1/token", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := by.Identify(ctx, r)
	if err == nil {
		err = c.UseProof(ctx) // as a policy does when a rule matches the caller
	}
	return c, err
}

// big answers more than is read.
func big(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintf(w, `{"keys":[], "padding": "%s"}`, make([]byte, 2*maxBody))
}
