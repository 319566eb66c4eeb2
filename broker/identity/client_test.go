// Package identity_test tests both halves of every proof against each other: the client
// that workspaces use, and a broker.
package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/identity/aws"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/brokerclient"
	"github.com/gatepass/gatepass/credential/brokerclient/awsproof"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/test/ststest"
)

// anything is a journal that drops all entries.
type anything struct{}

func (anything) Write(context.Context, broker.Entry, bool) error { return nil }

// A world is a broker with a rule for each method. Its tokens say which workspace got
// them.
type world struct {
	t      *testing.T
	store  *storetest.Memory
	sts    *ststest.Server
	dir    string
	server *httptest.Server
	asleep atomic.Int64 // how long workspaces slept in total, in nanoseconds, by the broker's clock only
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.asleep.Load())) }

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: &storetest.Memory{}, dir: t.TempDir()}
	w.authority("ca")
	keys := &identity.Keyset{Store: w.store, Now: w.now}
	nonces, sessions := &aws.Nonces{Keys: keys, Replay: identity.ReplayCache{Store: keys.Store}}, &identity.SessionIdentifier{Keys: keys, Now: w.now}
	byAWS := aws.New(aws.Settings{ServerID: "127.0.0.1", Regions: []string{"eu-west-1"}}, nonces)
	w.sts = &ststest.Server{Principals: map[string]ststest.Principal{"AKIAIOSFODNN7EXAMPLE": {
		Secret: "not-a-secret", Account: "123456789012", ARN: "arn:aws:iam::123456789012:user/me", UserID: "AIDAIOSFODNN7EXAMPLE",
	}}}
	byAWS.Transport = w.sts
	byMTLS := identity.NewMTLS(identity.MTLSSettings{CAFile: w.path("ca.pem"), TrustDomain: "prod.example"})
	policy := &broker.Policy{Rules: []broker.Rule{
		{Name: "aws", By: byAWS, Workspace: "aws-{claim.account}"},
		{Name: "mtls", By: byMTLS, Workspace: "mtls-{claim.serial}"},
		{Name: "agents", By: sessions, Match: identity.JoinSettings{}.Match("agents"), Workspace: "{claim.workspace}", Sleep: 3 * time.Hour},
	}}
	current := func() *broker.Policy { return policy }
	desk := &identity.Exchanger{Sessions: sessions, Store: w.store, Policy: current, Blocker: &blocklist.List{Store: w.store, Every: time.Nanosecond}, Journal: anything{}}
	b := broker.New(broker.Config{
		Policy: current, Journal: anything{}, Store: w.store, GitHub: new(mint.App), Log: slog.New(slog.DiscardHandler),
		Extra: map[string]broker.Endpoint{api.ExchangePath: desk.Endpoint(), api.NoncePath: nonces.Endpoint()},
	})
	b.Vend = func(_ context.Context, got broker.Workspace, r api.TokenRequest) (broker.Grant, error) {
		return broker.Grant{Token: credential.NewToken("token-of-"+got.ID, time.Now().Add(time.Hour)), Scope: broker.Scope{Repo: r.Repo}}, nil
	}
	w.server = httptest.NewUnstartedServer(b.Handler())
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	w.server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: identity.Pool(byMTLS)}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	w.write("server.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw}))
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name string, data []byte) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// open opens the source with a query.
func (w *world) open(query string) *brokerclient.Source {
	w.t.Helper()
	u, err := url.Parse("broker+" + w.server.URL + "?ca_file=" + w.path("server.pem") + "&" + query)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := (&brokerclient.Opener{Methods: []brokerclient.Method{awsproof.Method}}).Open(u, "sb-1")
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) check(s *brokerclient.Source, want string) {
	w.t.Helper()
	got, err := s.Token(w.t.Context(), credential.Request{Protocol: "https", Host: "github.com", Path: "acme/widgets", Operation: "read"})
	if err != nil || got.Secret() != "token-of-"+want {
		w.t.Errorf("Token = %q, %v, want that of %s", got.Secret(), err, want)
	}
}

func (w *world) checkRefused(s *brokerclient.Source, want string) {
	w.t.Helper()
	_, err := s.Token(w.t.Context(), credential.Request{Protocol: "https", Host: "github.com", Path: "acme/widgets", Operation: "read"})
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		w.t.Errorf("Token = %v, want an error with %q", err, want)
	}
}

func TestAWS(t *testing.T) {
	w := newWorld(t)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "eu-west-1", "AWS_CONFIG_FILE": w.path("none"), "AWS_SHARED_CREDENTIALS_FILE": w.path("none"),
	} {
		t.Setenv(name, value)
	}
	s := w.open("auth=aws")
	for range 3 { // each with its own nonce
		w.check(s, "aws-123456789012")
	}
	w.check(w.open("auth=aws&region=eu-west-1&server_id=127.0.0.1"), "aws-123456789012")
	w.checkRefused(w.open("auth=aws&region=us-east-1"), "does not ask the STS of region us-east-1")
	w.checkRefused(w.open("auth=aws&server_id=another.example"), "AWS does not accept the signature")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	w.checkRefused(w.open("auth=aws"), "AWS does not accept the signature")
	for _, call := range w.sts.Calls() {
		if call.Host != "sts.eu-west-1.amazonaws.com" {
			t.Errorf("the broker asked %s", call.Host)
		}
	}
}

// A virtual machine that was suspended for two hours wakes up with a clock that is two
// hours behind, and an expired session. It recovers by itself.
func TestAWorkspaceWakesUp(t *testing.T) {
	w := newWorld(t)
	token, err := identity.IssueJoinToken(t.Context(), w.store, time.Now(), "sb-7", "agents", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w.write("join", []byte(token.Reveal()))
	s := w.open("join_token_file=" + w.path("join"))
	w.check(s, "sb-7")
	for range 2 {
		w.asleep.Add(int64(2 * time.Hour))
		w.check(s, "sb-7")
	}
	w.asleep.Add(int64(4 * time.Hour))
	for range 2 {
		w.checkRefused(s, "the broker's rule lets a workspace sleep for at most 3h0m0s; begin another with a new join token; put a new join token into "+w.path("join"))
	}
	token, err = identity.IssueJoinToken(t.Context(), w.store, w.now(), "sb-7", "agents", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w.write("join", []byte(token.Reveal()))
	w.check(s, "sb-7")
}

func TestJoin(t *testing.T) {
	w := newWorld(t)
	token, err := identity.IssueJoinToken(t.Context(), w.store, time.Now(), "sb-7", "agents", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w.write("join", []byte(token.Reveal()+"\n"))
	s := w.open("join_token_file=" + w.path("join"))
	w.check(s, "sb-7")
	if _, err := os.Stat(w.path("join")); !os.IsNotExist(err) {
		t.Errorf("the join token is still there: %v", err)
	}
	w.check(s, "sb-7")
	w.write("stolen", []byte(token.Reveal()))
	w.checkRefused(w.open("join_token_file="+w.path("stolen")), "was used already")
	if err := (&blocklist.List{Store: w.store}).Block(t.Context(), "sb-8"); err != nil {
		t.Fatal(err)
	}
	blocked, err := identity.IssueJoinToken(t.Context(), w.store, time.Now(), "sb-8", "agents", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w.write("blocked", []byte(blocked.Reveal()))
	w.checkRefused(w.open("join_token_file="+w.path("blocked")), "sb-8 is blocked")
}

// authority makes an authority and stores its certificate and key.
func (w *world) authority(name string) {
	w.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	w.sign(name, template, "")
}

// sign writes name.pem and name-key.pem, signed by another certificate or by
// itself.
func (w *world) sign(name string, template *x509.Certificate, by string) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != "" {
		pair, err := tls.LoadX509KeyPair(w.path(by+".pem"), w.path(by+"-key.pem"))
		if err != nil {
			w.t.Fatal(err)
		}
		parent, signer = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		w.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	w.write(name+"-key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func (w *world) workload(name string, serial int64, id string) {
	w.t.Helper()
	u, err := url.Parse(id)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sign(name, &x509.Certificate{SerialNumber: big.NewInt(serial), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{u}}, "ca")
}

func TestClientCertificates(t *testing.T) {
	w := newWorld(t)
	t.Setenv(brokerclient.IdentityVariable, "")
	w.workload("leaf", 0x11, "spiffe://prod.example/sb-1")
	s := w.open("cert_file=" + w.path("leaf.pem") + "&key_file=" + w.path("leaf-key.pem"))
	w.check(s, "mtls-11")
	w.workload("leaf", 0x12, "spiffe://prod.example/sb-1") // as in a rotation
	w.check(s, "mtls-12")
	w.write("leaf-key.pem", []byte("half of")) // the old pair is used while a new one is written
	w.check(s, "mtls-12")
	w.checkRefused(w.open("cert_file="+w.path("leaf.pem")+"&key_file="+w.path("leaf-key.pem")), "the key belongs to another certificate")
	w.checkRefused(w.open("cert_file="+w.path("none")+"&key_file="+w.path("none")), "no such file")
	w.checkRefused(w.open(""), "this workspace has no identity")
	stranger := newWorld(t)
	stranger.workload("leaf", 0x14, "spiffe://prod.example/sb-1")
	w.checkRefused(w.open("cert_file="+stranger.path("leaf.pem")+"&key_file="+stranger.path("leaf-key.pem")), "it does not accept the client certificate")
	w.workload("other", 0x13, "spiffe://test.example/sb-1")
	w.checkRefused(w.open("cert_file="+w.path("other.pem")+"&key_file="+w.path("other-key.pem")), "another trust domain")
}

// The endpoints refuse other methods.
func TestNonces(t *testing.T) {
	w := newWorld(t)
	for method, want := range map[string]int{http.MethodGet: 200, http.MethodPost: 405} {
		request, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+api.NoncePath, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := w.server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != want || response.Header.Get("X-Request-Id") == "" || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s = %d %s, want %d", method, response.StatusCode, body, want)
		}
		if a, err := api.DecodeNonce(body); want == 200 && (err != nil || time.Until(a.ExpiresAt) > aws.NonceLife) {
			t.Errorf("%s = %+v, %v, want a nonce for a minute", method, a, err)
		}
	}
}
