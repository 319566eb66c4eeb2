package vaulttransit

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"testing"

	"github.com/gatepass/gatepass/internal/keywrap"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/gatepass/gatepass/test/vaulttest"
)

var wrapping = testkey.RSA(4096, 0)

// takeImports lets v, which has no key, import one; after is the answer.
func (v *transit) takeImports(after http.HandlerFunc) {
	v.Remove("transit/keys/app")
	der, err := x509.MarshalPKIXPublicKey(&wrapping.PublicKey)
	if err != nil {
		v.t.Fatal(err)
	}
	v.Put("transit/wrapping_key", map[string]any{"data": map[string]any{
		"public_key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}})
	v.HandlePost("transit/keys/app/import", func(w http.ResponseWriter, r *http.Request) {
		v.take(r)
		after(w, r)
	})
}

func (v *transit) take(r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	var body imported
	err := dec.Decode(&body)
	wrapped, err2 := base64.StdEncoding.DecodeString(body.Ciphertext)
	if err != nil || err2 != nil || body.Hash != "SHA256" || body.AllowRotation || body.Exportable {
		v.t.Errorf("Vault was sent %+v, want an import of a key that stays as it is", body)
	}
	der, err := keywrap.Unwrap(wrapping, wrapped)
	if err != nil {
		v.t.Errorf("the key cannot be unwrapped: %v", err)
		return
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		v.t.Errorf("what was wrapped is no PKCS#8: %v", err)
		return
	}
	v.versions, v.kind = []*rsa.PrivateKey{key.(*rsa.PrivateKey)}, body.Type
	v.show()
}

func noContent(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func TestImport(t *testing.T) {
	v := newTransit(t)
	v.takeImports(noContent)
	s := serve(t, v)
	for range 2 {
		if err := s.Import(t.Context(), newSigner(t, keys[2])); err != nil {
			t.Fatalf("Import = %v", err)
		}
	}
	if n := v.Count("POST transit/keys/app/import"); n != 1 || v.kind != "rsa-3072" {
		t.Errorf("%d imports as %s, want one as rsa-3072", n, v.kind)
	}
	checkSigned(t, s, &keys[2].PublicKey)
	checkError(t, s.Import(t.Context(), newSigner(t, keys[0])), "another key of that name exists already")
}

func TestVacant(t *testing.T) {
	v := newTransit(t)
	checkError(t, serve(t, v).Vacant(t.Context()), "a key of that name exists already, SHA256:")
	v.takeImports(noContent)
	if err := serve(t, v).Vacant(t.Context()); err != nil {
		t.Errorf("Vacant where no key is = %v, want nil", err)
	}
	v.Remove("transit/wrapping_key")
	if err := serve(t, v).Vacant(t.Context()); err == nil {
		t.Error("Vacant of an engine that takes no keys = nil, want an error")
	}
	if n := v.Count("POST transit/keys/app/import"); n != 0 {
		t.Errorf("%d imports, want none", n)
	}
}

// The key was imported; only the answer was lost.
func TestImportWhoseAnswerIsLost(t *testing.T) {
	v := newTransit(t)
	v.takeImports(vaulttest.Errors(http.StatusBadRequest, "the import path cannot be used with an existing key"))
	if err := serve(t, v).Import(t.Context(), newSigner(t, keys[0])); err != nil {
		t.Errorf("Import = %v, want none: the key is in Vault", err)
	}
}

func TestImportThatFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*transit)
		policy []string
		want   string
	}{
		{"no policy for the wrapping key", func(*transit) {}, []string{"transit/keys/"}, "allow read on transit/wrapping_key"},
		{"no wrapping key", func(v *transit) { v.Put("transit/wrapping_key", map[string]any{"data": map[string]any{}}) }, nil, "importing needs Vault 1.11"},
		{"refused", func(v *transit) {
			v.HandlePost("transit/keys/app/import", vaulttest.Errors(http.StatusBadRequest, "invalid key"))
		}, nil, "Vault refuses (400): invalid key"},
		{"not kept", func(v *transit) { v.HandlePost("transit/keys/app/import", noContent) }, nil, "Vault accepted the key, but does not show it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newTransit(t)
			v.takeImports(noContent)
			c.change(v)
			checkError(t, serve(t, v, c.policy...).Import(t.Context(), newSigner(t, keys[0])), c.want)
		})
	}
}
