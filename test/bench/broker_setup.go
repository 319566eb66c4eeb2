package main

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A brokerSetup is a running broker with its GitHub and an issuer of identities.
type brokerSetup struct {
	fleet       *fleet
	cmd         *exec.Cmd
	url         string
	certificate []byte // PEM
	key         *rsa.PrivateKey
	issuer      string
	issuing     *httptest.Server // server of the issuer; nil means none
	repos       []string         // of acme, in addition to widgets
	store       string           // URL; "" means the fleet's own
	env         []string         // additional environment variables of the broker
	patience    time.Duration    // how long it may take to become ready; 0 means startWait

	mu         sync.Mutex // guards identities
	identities map[int]string
}

const (
	benchIssuer   = "https://issuer.bench.example"
	operatorToken = "operator-of-the-measured-broker-0123456789"
	startWait     = 10 * time.Second
	identityLife  = time.Hour
)

// startBroker starts the broker with its store in memory, if the machine has such a
// file system, and its audit log on disk.
func (b vendBench) startBroker() (*brokerSetup, error) {
	gh, err := fakegithub.New(fakegithub.Options{})
	if err != nil {
		return nil, err
	}
	v := &brokerSetup{fleet: &fleet{github: gh}, issuer: benchIssuer}
	return v, b.open(v)
}

// open starts the broker of a broker that has a GitHub and an issuer.
func (b vendBench) open(v *brokerSetup) (err error) {
	v.identities = map[int]string{}
	if v.fleet.dir, err = os.MkdirTemp(memoryFolder(b.scratch), "gatepass-bench-"); err == nil {
		err = v.writeConfig(b.bench)
	}
	if err == nil {
		err = v.start(b.bench)
	}
	if err != nil {
		v.close()
	}
	return err
}

func (v *brokerSetup) close() {
	v.stop()
	if v.issuing != nil {
		v.issuing.Close()
	}
	v.fleet.close()
}

func (v *brokerSetup) stop() {
	if v.cmd != nil && v.cmd.Process != nil {
		_ = v.cmd.Process.Signal(syscall.SIGTERM)
		_ = v.cmd.Wait()
	}
	v.cmd = nil
}

// writeConfig sets up the App and writes the broker's files.
func (v *brokerSetup) writeConfig(b *bench) error {
	u, err := url.Parse(v.fleet.storeURL())
	if err != nil {
		return err
	}
	s, err := filestore.OpenStore(u)
	if err != nil {
		return err
	}
	if _, err := v.fleet.setUp(b.ctx, s); err != nil {
		return err
	}
	if v.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return err
	}
	return v.write(b)
}

// write chooses an address and writes the broker's files.
func (v *brokerSetup) write(b *bench) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	v.url = "https://" + address
	cert, key, err := selfSigned()
	if err != nil {
		return err
	}
	v.certificate = cert
	audit, err := b.tempDir("audit")
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(v.fleet.dir, name) }
	for name, text := range map[string][]byte{
		"ca.pem": v.fleet.github.CAPEM(), "tls.crt": cert, "tls.key": key, "jwks.json": v.jwks(),
		"profile.yaml": []byte("metadata: {name: fleet}\nspec: {sourceAccess: {github: {allowedRepos: [acme/" + strings.Join(append(v.repos, "widgets"), ", acme/") + "]}}}\n"),
		"broker.yaml": fmt.Appendf(nil, `listen: %s
tls: {cert_file: %q, key_file: %q}
store: %q
audit: %q
profiles: [%q]
limits: {requests: 4096, workspace_rate: 1000, workspace_burst: 1000}
operators: [{name: bench, token_sha256: %x}]
callers:
  - oidc: {issuer: %s, audience: gatepass, jwks_file: %q}
    workspace: "{claim.sub}"
    profile: fleet
`, v.url, in("tls.crt"), in("tls.key"), cmp.Or(v.store, v.fleet.storeURL()), filepath.Join(audit, "audit.jsonl"), in("profile.yaml"), sha256.Sum256([]byte(operatorToken)), v.issuer, in("jwks.json")),
	} {
		if err := os.WriteFile(in(name), text, 0o600); err != nil {
			return err
		}
	}
	v.fleet.ca = in("ca.pem")
	return nil
}

// start waits until the broker is ready.
func (v *brokerSetup) start(b *bench) error {
	v.cmd = exec.CommandContext(b.ctx, filepath.Join(b.bin, brokerProgram), "--config", filepath.Join(v.fleet.dir, "broker.yaml"))
	v.cmd.Env = append([]string{"SSL_CERT_FILE=" + v.fleet.ca, "HOME=" + v.fleet.dir}, v.env...)
	log, err := os.Create(filepath.Join(v.fleet.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	v.cmd.Stderr = log
	if err := v.cmd.Start(); err != nil {
		return err
	}
	if answers(v.client(), v.url+"/readyz", cmp.Or(v.patience, startWait)) {
		return nil
	}
	said, _ := os.ReadFile(log.Name())
	return fmt.Errorf("the broker is not ready: %.500s", said)
}

// answers waits until a server reports that it is ready.
func answers(client *http.Client, url string, patience time.Duration) bool {
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		response, err := client.Get(url)
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return true
		}
	}
	return false
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// selfSigned makes a certificate for this machine.
func selfSigned() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	secret, keyErr := x509.MarshalPKCS8PrivateKey(private)
	if err = errors.Join(err, keyErr); err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

var base64url = base64.RawURLEncoding.EncodeToString

// jwks is the issuer's key set (RFC 7517).
func (v *brokerSetup) jwks() []byte {
	e := big.NewInt(int64(v.key.E)).Bytes()
	return fmt.Appendf(nil, `{"keys":[{"kty":"RSA","alg":"RS256","use":"sig","kid":"bench","n":%q,"e":%q}]}`, base64url(v.key.N.Bytes()), base64url(e))
}

// identity returns the workspace's identity token, which is made once.
func (v *brokerSetup) identity(workspace int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if text, ok := v.identities[workspace]; ok {
		return text
	}
	claims, err := json.Marshal(map[string]any{
		"iss": v.issuer, "aud": "gatepass", "sub": fmt.Sprintf("w-%d", workspace),
		"iat": time.Now().Unix(), "exp": time.Now().Add(identityLife).Unix(),
	})
	if err != nil {
		return "" // cannot happen: there are only texts and numbers
	}
	head := base64url([]byte(`{"alg":"RS256","kid":"bench","typ":"JWT"}`)) + "." + base64url(claims)
	digest := sha256.Sum256([]byte(head))
	signature, err := rsa.SignPKCS1v15(rand.Reader, v.key, crypto.SHA256, digest[:])
	if err != nil {
		return ""
	}
	v.identities[workspace] = head + "." + base64url(signature)
	return v.identities[workspace]
}
