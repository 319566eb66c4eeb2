//go:build linux

package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/identity"
)

const proofRules = `  - mtls: {ca_file: @DIR@/clients.pem, trust_domain: prod.example}
    workspace: "id-{claim.serial}"
    profile: agent
  - name: agents
    join: {}
    workspace: "{claim.workspace}"
    profile: agent
`

// clientCertificate returns a workload's certificate, whose authority is in
// clients.pem.
func (w *world) clientCertificate(id string) tls.Certificate {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	root, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	uri, err := url.Parse(id)
	if err != nil {
		w.t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(0x2a), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{uri},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("clients.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Callers over https prove their identity with a certificate, or with a join token that
// they exchange for a session.
func TestProofsOverHTTPS(t *testing.T) {
	w := newWorld(t)
	w.addApp(1)
	address := freePort(t)
	pool := w.certify("broker")
	certificate := w.clientCertificate("spiffe://prod.example/sb-1")
	w.write("broker.yaml", strings.Replace(testConfig, "listen: unix://@DIR@/broker.sock", "listen: https://"+address+"\ntls: {cert_file: @DIR@/tls.crt, key_file: @DIR@/tls.key}", 1)+proofRules)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	post := func(c *http.Client, path, bearer, body string) answer {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		return read(c.Do(r))
	}
	const ask = `{"host":"github.com","repo":"acme/r0","operation":"read"}`
	shows := overTLS(pool, 0)
	shows.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{certificate}
	if got := post(shows, "/v1/token", "", ask); got.status != 200 {
		t.Errorf("with a certificate: %d %s %v", got.status, got.body, got.err)
	}
	plain := overTLS(pool, 0)
	if got := post(plain, "/v1/token", "", ask); got.status != 401 {
		t.Errorf("without one: %d %s", got.status, got.body)
	}
	w.clientCertificate("spiffe://prod.example/sb-1") // another authority replaced the first
	p.until("refusing the certificate", func() bool { return post(shows, "/v1/token", "", ask).status != 200 })

	token, err := identity.IssueJoinToken(t.Context(), w.store, time.Now(), "sb-9", "agents", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	got := post(plain, "/v1/exchange", "", `{"join_token":"`+token.Reveal()+`"}`)
	var session struct{ Session string }
	if err := json.Unmarshal([]byte(got.body), &session); err != nil || got.status != 200 || session.Session == "" {
		t.Fatalf("the exchange: %d %s %v", got.status, got.body, err)
	}
	if got := post(plain, "/v1/token", session.Session, ask); got.status != 200 {
		t.Errorf("with the session: %d %s", got.status, got.body)
	}
	if got := post(plain, "/v1/exchange", "", `{"join_token":"`+token.Reveal()+`"}`); got.status == 200 {
		t.Errorf("the token is taken twice: %s", got.body)
	}
	p.end(15)
}
