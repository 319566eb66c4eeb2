package controlplane

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
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
	"time"

	"github.com/gatepass/gatepass/test/freeport"
)

// files are the addresses of the programs, and the files that the programs read.
type files struct {
	dir        string
	api        string // address, host:port
	etcd, peer string // URLs
	roots      *x509.CertPool
}

func (f files) path(name string) string       { return filepath.Join(f.dir, name) }
func (f files) kubeconfig(user string) string { return f.path(user + ".kubeconfig") }
func (f files) url() string                   { return "https://" + f.api }

// newFiles chooses addresses and writes the files: a key for service accounts' tokens,
// a self-signed certificate, and two users, each with a bearer token and a kubeconfig.
func newFiles(dir string) (files, error) {
	addresses, err := freeAddresses(3)
	if err != nil {
		return files{}, err
	}
	f := files{dir: dir, api: addresses[0], etcd: "http://" + addresses[1], peer: "http://" + addresses[2], roots: x509.NewCertPool()}
	accounts, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return files{}, err
	}
	serving, certificate, err := selfSigned()
	if err != nil {
		return files{}, err
	}
	f.roots.AppendCertsFromPEM(certificate)
	admin, controllers := rand.Text(), rand.Text()
	err = os.Mkdir(dir, 0o700)
	for path, text := range map[string][]byte{
		f.path("accounts.key"): keyPEM(accounts), f.path("serving.key"): keyPEM(serving), f.path("serving.crt"): certificate,
		// The columns are token, user, ID and groups.
		f.path("tokens.csv"):         fmt.Appendf(nil, "%s,%[2]s,%[2]s,system:masters\n%s,%[4]s,%[4]s,system:masters\n", admin, Admin, controllers, ControllerUser),
		f.kubeconfig(Admin):          f.kubeconfigText(certificate, admin),
		f.kubeconfig(ControllerUser): f.kubeconfigText(certificate, controllers),
		f.path("audit-policy.yaml"):  []byte(auditPolicy),
	} {
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
	}
	return f, err
}

func keyPEM(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// selfSigned returns a certificate for 127.0.0.1 that is valid for a day.
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

func (f files) kubeconfigText(certificate []byte, token string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: test, user: {token: %s}}]
`, f.url(), base64.StdEncoding.EncodeToString(certificate), token)
}

// freeAddresses returns n different addresses of loopback.
func freeAddresses(n int) ([]string, error) {
	seen := map[string]bool{}
	var addresses []string
	for len(addresses) < n {
		address, err := freeport.Address()
		if err != nil {
			return nil, err
		}
		if !seen[address] {
			seen[address] = true
			addresses = append(addresses, address)
		}
	}
	return addresses, nil
}

// client returns a client that trusts the certificate and uses no proxy.
func (f files) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: f.roots}}}
}
