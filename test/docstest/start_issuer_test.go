package docstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/go-jose/go-jose/v4"
)

// An issuer gives jobs OpenID Connect tokens, as GitHub and GitLab do.
type issuer struct {
	url    string
	claims map[string]any // of the job
	sign   jose.Signer
	keys   jose.JSONWebKeySet
}

// requestToken is what a job of GitHub's shows to get its identity.
const requestToken = "the-jobs-request-token"

func newIssuer(t *testing.T, beside *fakegithub.Server) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}}}
	if i.sign, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { answer(w, i.keys) })
	mux.HandleFunc("GET /identity", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+requestToken {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		answer(w, map[string]any{"count": 1, "value": i.token(t, r.FormValue("audience"))})
	})
	if i.url, err = beside.ServeBeside("issuer", mux); err != nil {
		t.Fatal(err)
	}
	return i
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the client has gone away
}

// token is the job's identity for an audience.
func (i *issuer) token(t *testing.T, audience string) string {
	now := time.Now()
	claims := map[string]any{"iss": i.url, "aud": audience, "sub": "job", "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	for name, value := range i.claims {
		claims[name] = value
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Error(err)
	}
	signed, err := i.sign.Sign(text)
	if err != nil {
		t.Error(err)
		return ""
	}
	whole, err := signed.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return whole
}
