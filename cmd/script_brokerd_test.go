//go:build linux

package cmd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/freeport"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"
)

// brokerWait bounds the start and the end of a gatepass-broker.
const brokerWait = time.Minute

// brokerd FILE starts gatepass-broker with that configuration, $NAME filled in, for the
// App of $GITHUB, and waits until it listens. Its store is $STORE, its certificate is
// in $WORK/tls.crt and $WORK/tls.key and it may listen at $HTTPS. "brokerd stop" ends
// it; "brokerd pause" and "brokerd resume" stop it from answering for a while.
func (w *world) brokerd(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1, "brokerd FILE, stop, pause or resume")
	switch args[0] {
	case "stop":
		ts.Check(w.stopBroker())
		return
	case "pause":
		w.pauseBroker(ts, syscall.SIGSTOP)
		return
	case "resume":
		w.pauseBroker(ts, syscall.SIGCONT)
		return
	}
	ts.Setenv("STORE", "file://"+filepath.Join(w.work, "store"))
	w.setUpApp(ts)
	w.certificate(ts)
	config := filepath.Join(w.work, "broker-in-force.yaml")
	w.replace(ts, config, os.Expand(ts.ReadFile(args[0]), ts.Getenv), 0o600)
	cmd := exec.Command(filepath.Join(w.bin, "gatepass-broker"), "--config", config)
	cmd.Env = []string{"SSL_CERT_FILE=" + ts.Getenv("CA"), "PATH=" + os.Getenv("PATH")}
	log, err := os.Create(filepath.Join(w.work, "broker.log"))
	ts.Check(err)
	defer log.Close()
	cmd.Stderr = log
	ts.Check(cmd.Start())
	w.brokerProcess, w.hasBroker = cmd, true
	w.closers = append([]func(){func() { _ = w.stopBroker() }}, w.closers...)
	for deadline := time.Now().Add(brokerWait); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("unix", filepath.Join(w.run, "broker.sock"))
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("gatepass-broker does not listen: %s", ts.ReadFile("broker.log"))
		}
	}
}

func (w *world) stopBroker() error {
	if w.brokerProcess == nil {
		return nil
	}
	cmd := w.brokerProcess
	w.brokerProcess = nil
	_ = cmd.Process.Signal(syscall.SIGCONT) // for a script that failed after brokerd pause
	stuck := time.AfterFunc(brokerWait, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}

// setUpApp puts the App and one of its keys in the store.
func (w *world) setUpApp(ts *testscript.TestScript) {
	s, err := issuing.OpenStore(ts.Getenv("STORE"))
	ts.Check(err)
	key := testkey.RSA(2048, 0)
	ts.Check(w.github.AddKey(w.app.ID, &key.PublicKey))
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, text := range map[store.Name]string{store.AppClientID(): w.app.ClientID, store.PrivateKey(): string(text)} {
		ts.Check(s.Put(context.Background(), name, store.NewSecret(text), store.Replace))
	}
}

// certificate writes a pair for 127.0.0.1 and localhost, which $CA trusts, and chooses
// $HTTPS and $NAMED, the same with a name: some clients accept no certificate for an
// address.
func (w *world) certificate(ts *testscript.TestScript) {
	address, err := freeport.Address()
	ts.Check(err)
	_, port, err := net.SplitHostPort(address)
	ts.Check(err)
	ts.Setenv("HTTPS", address)
	ts.Setenv("NAMED", "localhost:"+port)
	certificate, key := newPair(ts)
	w.replace(ts, filepath.Join(w.work, "tls.crt"), string(certificate), 0o600)
	w.replace(ts, filepath.Join(w.work, "tls.key"), string(key), 0o600)
	if !strings.Contains(ts.ReadFile(ts.Getenv("CA")), string(certificate)) {
		ts.Check(w.trust(certificate))
	}
}

// newPair makes a self-signed certificate and its key.
func newPair(ts *testscript.TestScript) (certificate, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	ts.Check(err)
	text, err := x509.MarshalPKCS8PrivateKey(private)
	ts.Check(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// issue FILE SUBJECT writes a token of https://issuer.test for gatepass; the keys of
// that issuer are in $JWKS.
func (w *world) issue(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 2, "issue FILE SUBJECT")
	if w.issuerKey == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		ts.Check(err)
		w.issuerKey = key
		keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
		ts.Check(err)
		ts.Setenv("JWKS", filepath.Join(w.work, "jwks.json"))
		w.replace(ts, ts.Getenv("JWKS"), string(keys), 0o600)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: w.issuerKey, KeyID: "1"}}, nil)
	ts.Check(err)
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": "https://issuer.test", "aud": "gatepass", "sub": args[1], "iat": now, "exp": now + 600})
	ts.Check(err)
	signed, err := signer.Sign(claims)
	ts.Check(err)
	text, err := signed.CompactSerialize()
	ts.Check(err)
	w.replace(ts, ts.MkAbs(args[0]), text+"\n", 0o600)
}
