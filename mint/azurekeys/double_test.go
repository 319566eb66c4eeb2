package azurekeys

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/test/testkey"
)

const (
	vault   = "gatepass-git.vault.azure.net"
	tenant  = "0bd5a2e2-3b7d-4a5f-9a4e-6f1c2d3e4f50"
	client  = "7c1f0c0e-1111-4222-8333-944455566677"
	secret  = "client-secret-of-the-test"
	first   = "11111111111111111111111111111111"
	second  = "22222222222222222222222222222222"
	version = "api-version=2025-07-01"
)

var keys = []*rsa.PrivateKey{testkey.RSA(2048, 0), testkey.RSA(3072, 0), testkey.RSA(2048, 1)}

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// A held is a version that the vault has.
type held struct {
	id       string
	key      *rsa.PrivateKey
	kind     string
	ops      []string
	disabled bool
}

func usable(id string, key *rsa.PrivateKey) held {
	return held{id: id, key: key, kind: "RSA-HSM", ops: []string{"sign", "verify"}}
}

// double speaks HTTP as a vault does, has the key app, and accepts only GET and sign of
// it, with a token that Entra ID gave for vaults. The first request has to come without
// token and body, and is answered with a challenge. It signs a digest as it is.
type double struct {
	entra *entra
	host  string // of the vault

	mu        sync.Mutex // guards the fields below
	versions  []held     // the last one is the current one
	challenge string
	script    []http.HandlerFunc // the next answers to requests with a token
	failing   map[string]http.HandlerFunc
	key       func(map[string]any) // changes the answer to get
	signed    func(map[string]any)
	calls     []string
	invalid   []string
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	action := "get"
	if strings.HasSuffix(r.URL.Path, "/sign") {
		action = "sign"
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || !d.entra.gave(token, "https://"+suffixOf(d.host)+"/.default") {
		d.calls = append(d.calls, "challenge")
		if r.ContentLength > 0 && !bearer {
			d.note("%s %s with a body and without a token", r.Method, r.URL)
		}
		w.Header().Set("WWW-Authenticate", d.challenge)
		refuse(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.", "")(w, r)
		return
	}
	d.calls = append(d.calls, action)
	if r.Host != d.host || r.URL.RawQuery != version || !d.isWhole(r, action) {
		d.note("%s https://%s%s", r.Method, r.Host, r.URL)
	}
	switch {
	case len(d.script) > 0:
		next := d.script[0]
		d.script = d.script[1:]
		next(w, r)
	case d.failing[action] != nil:
		d.failing[action](w, r)
	default:
		d.answer(w, r, action)
	}
}

func suffixOf(host string) string { _, suffix, _ := strings.Cut(host, "."); return suffix }

func (d *double) note(format string, args ...any) {
	d.invalid = append(d.invalid, fmt.Sprintf(format, args...))
}

func (d *double) isWhole(r *http.Request, action string) bool {
	if action == "get" {
		return r.Method == http.MethodGet && r.ContentLength <= 0 && r.Header.Get("Accept") == "application/json"
	}
	return r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/json"
}

func (d *double) answer(w http.ResponseWriter, r *http.Request, action string) {
	name, id, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(r.URL.Path, "/sign"), "/keys/"), "/")
	v, ok := d.find(id)
	if !strings.EqualFold(name, "app") || !ok {
		refuse(404, "KeyNotFound", "A key with (name/id) "+name+"/"+id+" was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command.", "")(w, r)
		return
	}
	kid := "https://" + d.host + "/keys/app/" + v.id
	if action == "get" {
		answer := map[string]any{"key": v.jwk(kid), "attributes": map[string]any{"enabled": !v.disabled, "created": 1700000000, "recoveryLevel": "Recoverable+Purgeable"}}
		if d.key != nil {
			d.key(answer)
		}
		reply(w, 200, answer)
		return
	}
	digest := d.digest(r)
	if v.disabled {
		refuse(403, "Forbidden", "Operation sign is not allowed on a disabled key.", "KeyDisabled")(w, r)
		return
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, v.key, crypto.SHA256, digest)
	if err != nil {
		d.note("sign: %v", err)
	}
	answer := map[string]any{"kid": kid, "value": base64.RawURLEncoding.EncodeToString(signature)}
	if d.signed != nil {
		d.signed(answer)
	}
	reply(w, 200, answer)
}

// find returns a version, or the current one if none is named, which sign refuses.
func (d *double) find(id string) (held, bool) {
	for i := len(d.versions) - 1; i >= 0; i-- {
		if id == "" || strings.EqualFold(d.versions[i].id, id) {
			return d.versions[i], true
		}
	}
	return held{}, false
}

func (d *double) digest(r *http.Request) []byte {
	var body struct {
		Algorithm string `json:"alg"`
		Value     string `json:"value"`
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(&body)
	digest, err2 := base64.RawURLEncoding.DecodeString(body.Value)
	if err != nil || err2 != nil || body.Algorithm != "RS256" || len(digest) != sha256.Size {
		d.note("not a SHA-256 digest for RS256: %+v, %v", body, err)
	}
	return digest
}

func (v held) jwk(kid string) map[string]any {
	encode := base64.RawURLEncoding.EncodeToString
	return map[string]any{
		"kid": kid, "kty": v.kind, "key_ops": v.ops,
		"n": encode(v.key.N.Bytes()), "e": encode(big.NewInt(int64(v.key.E)).Bytes()),
	}
}

func (d *double) count(call string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, c := range d.calls {
		if c == call {
			n++
		}
	}
	return n
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// refuse answers as Key Vault does; inner may be empty.
func refuse(status int, code, message, inner string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		body := map[string]any{"code": code, "message": message}
		if inner != "" {
			body["innererror"] = map[string]any{"code": inner}
		}
		reply(w, status, map[string]any{"error": body})
	}
}

// hang does not answer until the client has left, which a server notices only after it
// has read the request.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// cut announces more than it sends.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	_, _ = w.Write([]byte(`{"key`))
}
