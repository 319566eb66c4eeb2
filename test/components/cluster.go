//go:build linux

package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// A cluster is what an API server and its etcd are told: where they listen, and
// files in a folder of theirs.
type cluster struct {
	dir        string
	etcd, peer string // URLs
	port       int    // of the API server
	token      string // of the user who may do everything
}

func (c cluster) path(name string) string { return filepath.Join(c.dir, name) }
func (c cluster) url() string             { return local("https", c.port) }

// write writes the files: a key for service accounts' tokens, a certificate that
// stands for itself, the token, and the kubeconfig with it.
func (c cluster) write() error {
	accounts, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	serving, certificate, err := selfSigned()
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		"accounts.key": keyPEM(accounts), "serving.key": keyPEM(serving), "serving.crt": certificate,
		// Token, user, id, groups.
		"tokens.csv": []byte(c.token + ",admin,admin,system:masters\n"),
		"kubeconfig": []byte(c.kubeconfig(certificate)),
	} {
		if err := os.WriteFile(c.path(name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func keyPEM(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// selfSigned is for 127.0.0.1, and for a day.
func selfSigned() (*rsa.PrivateKey, []byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes for tests"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

func (c cluster) kubeconfig(certificate []byte) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: admin}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: admin, user: {token: %s}}]
`, c.url(), base64.StdEncoding.EncodeToString(certificate), c.token)
}

// etcdFlags: what etcd has not written yet is lost with it anyway.
func (c cluster) etcdFlags() []string {
	return []string{
		"--data-dir=" + c.path("etcd"), "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls=" + c.etcd, "--advertise-client-urls=" + c.etcd,
		"--listen-peer-urls=" + c.peer, "--initial-advertise-peer-urls=" + c.peer, "--initial-cluster=default=" + c.peer,
	}
}

func (c cluster) apiServerFlags() []string {
	return []string{
		"--etcd-servers=" + c.etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + strconv.Itoa(c.port), "--cert-dir=" + c.dir,
		"--tls-cert-file=" + c.path("serving.crt"), "--tls-private-key-file=" + c.path("serving.key"),
		// Its own service would have no address but loopback, which is refused.
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=" + c.url(), "--service-account-jwks-uri=" + c.url() + "/openid/v1/jwks",
		"--service-account-key-file=" + c.path("accounts.key"), "--service-account-signing-key-file=" + c.path("accounts.key"),
		"--authorization-mode=RBAC", "--token-auth-file=" + c.path("tokens.csv"),
	}
}

// client trusts the certificate.
func (c cluster) client() (*http.Client, error) {
	text, err := os.ReadFile(c.path("serving.crt"))
	roots := x509.NewCertPool()
	if err == nil && !roots.AppendCertsFromPEM(bytes.TrimSpace(text)) {
		err = fmt.Errorf("%s holds no certificate", c.path("serving.crt"))
	}
	return loopback(roots), err
}
