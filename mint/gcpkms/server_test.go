package gcpkms

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/test/bufconn"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/testkey"
)

// accounts are the service accounts that Google knows, by address.
type accounts map[string]*rsa.PublicKey

var errUnknown = errors.New("not the JWT of a service account for Cloud KMS")

// identify reads the JWT that a service account signs for itself
// (https://google.aip.dev/auth/4111).
func (a accounts) identify(authorization []string) (string, error) {
	if len(authorization) != 1 {
		return "", errUnknown
	}
	token, ok := strings.CutPrefix(authorization[0], "Bearer ")
	part := strings.Split(token, ".")
	if !ok || len(part) != 3 {
		return "", errUnknown
	}
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
		Scope   string `json:"scope"`
		Expires int64  `json:"exp"`
	}
	text, err := base64.RawURLEncoding.DecodeString(part[1])
	signature, err2 := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil || err2 != nil || json.Unmarshal(text, &claims) != nil {
		return "", errUnknown
	}
	key := a[claims.Issuer]
	if key == nil || mint.CheckSignature(key, sha256.Sum256([]byte(part[0]+"."+part[1])), signature) != nil {
		return "", errUnknown
	}
	if claims.Subject != claims.Issuer || !strings.Contains(claims.Scope, "/auth/cloudkms") || time.Until(time.Unix(claims.Expires, 0)) <= 0 {
		return "", errUnknown
	}
	return claims.Issuer, nil
}

var accountKey = testkey.RSA(2048, 2)

// login makes GOOGLE_APPLICATION_CREDENTIALS name the file of a service account.
func login(t *testing.T, address string) *rsa.PublicKey {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(accountKey)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": address, "private_key_id": "1", "project_id": "acme-prod",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri":   "https://127.0.0.1:1/token", // no client asks it
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	return &accountKey.PublicKey
}

func isolate(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_QUOTA_PROJECT", "GOOGLE_CLOUD_UNIVERSE_DOMAIN", "GOOGLE_API_USE_MTLS_ENDPOINT",
		"GOOGLE_API_USE_CLIENT_CERTIFICATE", "GOOGLE_API_CERTIFICATE_CONFIG", "GOOGLE_SDK_GO_LOGGING_LEVEL", "CLOUDSDK_CONFIG",
		"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GCE_METADATA_HOST", "127.0.0.1:1") // never the machine's own
}

// A wire is the network between the client and a double. It leads to Cloud KMS's
// name and nowhere else.
type wire struct {
	*bufconn.Listener
	t     *testing.T
	roots *x509.CertPool

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

func (w *wire) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, conn)
	return conn, err
}

// cut closes all connections.
func (w *wire) cut(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		conn.Close()
	}
	w.conns = nil
	return nil
}

func (w *wire) dial(ctx context.Context, address string) (net.Conn, error) {
	if address != host+":443" {
		w.t.Errorf("the client went to %s, want %s:443", address, host)
	}
	return w.DialContext(ctx)
}

func (w *wire) options() []option.ClientOption {
	return []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithContextDialer(w.dial)),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: w.roots}))),
	}
}

// start serves d over TLS, under a certificate for Cloud KMS's name.
func start(t *testing.T, d *double) *wire {
	t.Helper()
	isolate(t)
	if d.accounts == nil {
		const address = "gatepass@acme-prod.iam.gserviceaccount.com"
		d.accounts = accounts{address: login(t, address)}
	}
	if d.versions == nil {
		d.versions = []version{usable(keys[0])}
	}
	certificate, roots := newCertificate(t)
	w := &wire{Listener: bufconn.Listen(1 << 20), t: t, roots: roots}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)), grpc.UnaryInterceptor(d.intercept))
	kmspb.RegisterKeyManagementServiceServer(server, d)
	done := make(chan error, 1)
	go func() { done <- server.Serve(w) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
		if len(d.invalid) > 0 {
			t.Errorf("Cloud KMS was sent invalid requests: %q", d.invalid)
		}
	})
	return w
}

func newCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

func open(t *testing.T, name string) *Signer {
	t.Helper()
	u, err := url.Parse("gcpkms://" + name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve opens a key of d.
func serve(t *testing.T, d *double, name string) *Signer {
	t.Helper()
	w := start(t, d)
	s := open(t, name)
	s.client.options = w.options()
	return s
}
