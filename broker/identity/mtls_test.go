package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string, parent *authority) *authority {
	a := &authority{t: t, key: newKey(t)}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), SerialNumber: big.NewInt(1),
	}
	if parent == nil {
		parent = &authority{t: t, cert: template, key: a.key}
	}
	a.cert = parent.sign(template, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// leaf makes a workload's certificate; change modifies it.
func (a *authority) leaf(change func(*x509.Certificate), uris ...string) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xabc), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, text := range uris {
		u, err := url.Parse(text)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	if change != nil {
		change(template)
	}
	key := newKey(a.t)
	return tls.Certificate{Certificate: [][]byte{a.sign(template, key).Raw}, PrivateKey: key}
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authorities")
	write(t, path, text)
	return path
}

// serve starts a listener for the identifiers' callers; it answers with what the first
// one says about a caller.
func serve(t *testing.T, identifiers ...*MTLSIdentifier) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := identifiers[0].Identify(r.Context(), r)
		switch {
		case errors.Is(err, broker.ErrNoProof):
			_, _ = io.WriteString(w, "nobody")
		case err != nil:
			_, _ = io.WriteString(w, "refused: "+err.Error())
		default:
			_, _ = io.WriteString(w, c.Subject)
		}
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: server.TLS.Certificates, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: Pool(identifiers...)}, nil
	}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// ask returns the answer to a caller with these certificates, or "no connection".
func ask(t *testing.T, server *httptest.Server, certs ...tls.Certificate) string {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	config := &tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(certs) == 0 {
			return new(tls.Certificate), nil
		}
		return &certs[0], nil
	}}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Headers in which proxies pass on certificates.
	for _, name := range []string{"X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "Ssl-Client-Subject-Dn", "Client-Cert"} {
		request.Header.Set(name, `URI=spiffe://prod.example/admin`)
	}
	response, err := client.Do(request)
	if err != nil {
		return "no connection"
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestWhoIsIdentified(t *testing.T) {
	root, stranger := newAuthority(t, "root", nil), newAuthority(t, "stranger", nil)
	middle := newAuthority(t, "middle", root)
	i := NewMTLS(MTLSSettings{BundleFile: file(t, root.pem()), TrustDomain: "prod.example"})
	other := NewMTLS(MTLSSettings{CAFile: file(t, stranger.pem())})
	server := serve(t, i, other)
	chained := middle.leaf(nil, "spiffe://prod.example/sb-2")
	chained.Certificate = append(chained.Certificate, middle.cert.Raw)
	const id = "spiffe://prod.example/sb-1"
	for _, c := range []struct {
		name string
		cert tls.Certificate
		want string
	}{
		{"a workload", root.leaf(nil, id), id},
		{"a workload of an intermediate authority", chained, "spiffe://prod.example/sb-2"},
		{"a DNS name besides the id", root.leaf(func(c *x509.Certificate) { c.DNSNames = []string{"x.example"} }, id), id},
		{"without the intermediate authority", middle.leaf(nil, id), "no connection"},
		{"another authority that the listener knows", stranger.leaf(nil, id), "unknown authority"},
		{"an unknown authority", newAuthority(t, "root", nil).leaf(nil, id), "no connection"},
		{"another trust domain", root.leaf(nil, "spiffe://prod.example.evil/sb-1"), "another trust domain"},
		{"a trust domain that begins alike", root.leaf(nil, "spiffe://prod/sb-1"), "another trust domain"},
		{"two URIs", root.leaf(nil, id, "spiffe://prod.example/sb-2"), "it has 2 URIs"},
		{"no URI", root.leaf(func(c *x509.Certificate) { c.DNSNames = []string{"sb-1"} }), "it has 0 URIs"},
		{"a URI of another kind", root.leaf(nil, "https://prod.example/sb-1"), "this is not a SPIFFE ID"},
		{"the id of a trust domain", root.leaf(nil, "spiffe://prod.example"), "no path"},
		{"an escape in the id", root.leaf(nil, "spiffe://prod.example/sb%2d1"), "path segment characters are limited"},
		{"an authority", root.leaf(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, id), "it belongs to an authority"},
		{"a key that may sign certificates", root.leaf(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, id), "it belongs to an authority"},
		{"a key for other things", root.leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, id), "its key usage is not digital signature"},
		{"a server's certificate", root.leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, id), "no connection"},
		{"one that has ended", root.leaf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, id), "no connection"},
		{"one that begins later", root.leaf(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, id), "no connection"},
	} {
		if got := ask(t, server, c.cert); !strings.HasSuffix(got, c.want) && (c.want == id || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := ask(t, server); got != "nobody" {
		t.Errorf("without a certificate: %q, want no caller, and a connection", got)
	}
}

func TestClaims(t *testing.T) {
	root := newAuthority(t, "root", nil)
	i := NewMTLS(MTLSSettings{CAFile: file(t, root.pem())})
	leaf, err := x509.ParseCertificate(root.leaf(nil, "spiffe://any.example/a/b").Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	c, err := i.Identify(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for claim, want := range map[string]string{"spiffe_id": "spiffe://any.example/a/b", "trust_domain": "any.example", "path": "/a/b", "serial": "abc"} {
		if got, _ := c.Claim(claim); got != want {
			t.Errorf("claim %s = %q, want %q", claim, got, want)
		}
	}
	if got, _ := c.Claim("fingerprint"); len(got) != 64 {
		t.Errorf("fingerprint = %q, want 64 digits", got)
	}
	for id, want := range map[string]bool{"": true, "spiffe://any.example/a/b": true, "spiffe://any.example/a": false, "spiffe://any.example/a/b/c": false} {
		if got, err := (MTLSSettings{ID: id}).Match().Match(c); got != want || err != nil {
			t.Errorf("id %q matches: %v, %v, want %v", id, got, err, want)
		}
	}
	// The certificate expires during the connection.
	i.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, err := i.Identify(t.Context(), r); err == nil || errors.Is(err, broker.ErrNoProof) {
		t.Errorf("Identify after the certificate's end = %v, want a refusal", err)
	}
}

func TestAChangedFileIsReadAgain(t *testing.T) {
	one, two := newAuthority(t, "one", nil), newAuthority(t, "two", nil)
	path := file(t, one.pem())
	i := NewMTLS(MTLSSettings{CAFile: path})
	server := serve(t, i)
	const id = "spiffe://prod.example/x"
	expect := func(when, first, second string) {
		t.Helper()
		if got := ask(t, server, one.leaf(nil, id)); got != first {
			t.Errorf("%s, one's workload: %q, want %q", when, got, first)
		}
		if got := ask(t, server, two.leaf(nil, id)); got != second {
			t.Errorf("%s, two's workload: %q, want %q", when, got, second)
		}
	}
	expect("at first", id, "no connection")
	write(t, path, one.pem()+two.pem())
	expect("with both", id, id)
	write(t, path, two.pem())
	expect("with the second", "no connection", id)
	write(t, path, "half a fi")
	expect("with a broken file", "no connection", id)
	i.now = func() time.Time { return time.Now().Add(stale + time.Minute) }
	if _, err := i.authorities.get(i.now()); err == nil {
		t.Error("a broken file leaves its authorities for ever")
	}
}

func TestBundles(t *testing.T) {
	root := newAuthority(t, "root", nil)
	leaf := root.leaf(nil, "spiffe://prod.example/x")
	x5c := func(der []byte) string { return base64.StdEncoding.EncodeToString(der) }
	pemOf := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for _, c := range []struct{ name, text, want string }{
		{"JSON", `{"keys":[{"use":"jwt-svid","kid":"a"},{"use":"x509-svid","kty":"EC","x5c":["` + x5c(root.cert.Raw) + `"]}],"spiffe_sequence":1}`, ""},
		{"JSON, with keys that cannot be used", `{"keys":[{"use":"x509-svid","x5c":["AAAA"]},{"use":"x509-svid","x5c":["` + x5c(root.cert.Raw) + `"]},{"use":"x509-svid"}]}`, ""},
		{"PEM", root.pem(), ""},
		{"nothing", "", "no certificate"},
		{"no X.509 authority", `{"keys":[{"use":"jwt-svid"}]}`, "no X.509 authority"},
		{"two certificates in a key", `{"keys":[{"use":"x509-svid","x5c":["a","b"]}]}`, "it must have exactly one certificate"},
		{"not valid base64", `{"keys":[{"use":"x509-svid","x5c":["%"]}]}`, "not valid base64"},
		{"no certificate", `{"keys":[{"use":"x509-svid","x5c":["AAAA"]}]}`, "it has a malformed certificate"},
		{"a workload's certificate", pemOf("CERTIFICATE", leaf.Certificate[0]), "it has a certificate that does not belong to an authority"},
		{"a private key", root.pem() + pemOf("PRIVATE KEY", []byte("x")), "it must have only certificates in PEM form"},
		{"broken JSON", `{"keys":`, "it is not a SPIFFE bundle"},
		{"too long", strings.Repeat(" ", maxFile+1), "longer than"},
	} {
		got, err := newAuthorities(MTLSSettings{BundleFile: file(t, c.text)}).get(time.Now())
		if c.want == "" && (err != nil || len(got) != 1 || !got[0].Equal(root.cert)) {
			t.Errorf("%s: %d authorities, %v, want the one", c.name, len(got), err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// A key of a bundle that cannot be used does not affect the others. When a certificate
// is refused, which it may have signed, the log says why it is not used.
func TestABundleWithAKeyThatCannotBeUsed(t *testing.T) {
	good, bad := newAuthority(t, "good", nil), newAuthority(t, "bad", nil)
	i := NewMTLS(MTLSSettings{TrustDomain: "prod.example", BundleFile: file(t, `{"keys":[{"use":"x509-svid","x5c":["AAAA"]},{"use":"x509-svid","x5c":["`+base64.StdEncoding.EncodeToString(good.cert.Raw)+`"]}]}`)})
	identify := func(a *authority) error {
		cert, err := x509.ParseCertificate(a.leaf(nil, "spiffe://prod.example/x").Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
		_, err = i.Identify(t.Context(), r)
		return err
	}
	if err := identify(good); err != nil {
		t.Errorf("Identify = %v, want the workload", err)
	}
	r, ok := errors.AsType[*broker.Refusal](identify(bad))
	if !ok || r.Status != http.StatusUnauthorized || r.Err == nil || !strings.Contains(r.Err.Error(), "keys[0] of the bundle cannot be used") || strings.Contains(r.Detail, "bundle") {
		t.Errorf("Identify = %+v, want 401, and the key for the log", r)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		settings MTLSSettings
		want     string
	}{
		{MTLSSettings{CAFile: "x"}, ""},
		{MTLSSettings{BundleFile: "x", TrustDomain: "a.example", ID: "spiffe://a.example/x"}, ""},
		{MTLSSettings{}, "either ca_file"},
		{MTLSSettings{CAFile: "x", BundleFile: "y", TrustDomain: "a"}, "either ca_file"},
		{MTLSSettings{BundleFile: "x"}, "needs trust_domain"},
		{MTLSSettings{CAFile: "x", TrustDomain: "A"}, "lower-case"},
		{MTLSSettings{CAFile: "x", ID: "spiffe://a/*"}, "path segment characters are limited"},
		{MTLSSettings{CAFile: "x", TrustDomain: "a", ID: "spiffe://b/x"}, "is not in the trust domain"},
	} {
		err := c.settings.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check(%+v) = %v, want %q", c.settings, err, c.want)
		}
	}
	if Pool() != nil || Pool(NewMTLS(MTLSSettings{CAFile: "/nonexistent"})) != nil {
		t.Error("a pool without authorities is not nil")
	}
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte(`{"keys":[{"use":"x509-svid","x5c":["AAAA"]}]}`))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := parseBundle(data); err == nil && len(got) == 0 {
			t.Errorf("parseBundle(%q) has no authority and no error", data)
		}
	})
}

// An id is compared exactly as it is in the certificate. Go parses it as a URL and
// would write another one: these are not SPIFFE ids, and not spiffe://prod.example/a.
func TestIDsAreTakenAsTheyAreWritten(t *testing.T) {
	ca := newAuthority(t, "root", nil)
	server := serve(t, NewMTLS(MTLSSettings{CAFile: file(t, ca.pem()), TrustDomain: "prod.example"}))
	for text, want := range map[string]string{
		"spiffe://prod.example/a":      "spiffe://prod.example/a",
		"spiffe://prod.example/A":      "spiffe://prod.example/A",
		"SPIFFE://prod.example/a":      "refused: ",
		"Spiffe://prod.example/a":      "refused: ",
		"spiffe://Prod.example/a":      "refused: ",
		"spiffe://prod.example/a#":     "refused: ",
		"spiffe://prod.example/a?":     "refused: ",
		"spiffe://prod.example/%61":    "refused: ",
		"spiffe://prod.example/a/":     "refused: ",
		"spiffe://prod.example/b/../a": "refused: ",
		"spiffe://prod.example:/a":     "refused: ",
		"spiffe://@prod.example/a":     "refused: ",
	} {
		leaf := ca.leaf(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{uriExtension(t, text)} })
		if got := ask(t, server, leaf); got != want && (want != "refused: " || !strings.HasPrefix(got, want) && got != "no connection") {
			t.Errorf("%q: the caller is told %q, want %q", text, got, want)
		}
	}
}

// uriExtension returns an extension with a URI as written.
func uriExtension(t *testing.T, text string) pkix.Extension {
	t.Helper()
	value, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: subjectAltName, Value: value}
}
