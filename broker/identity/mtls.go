package identity

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
)

// MTLSMethod is the method name of callers with a client certificate.
const MTLSMethod = "mtls"

// MTLSSettings say which certificates a rule accepts.
type MTLSSettings struct {
	CAFile      string `yaml:"ca_file"`      // certificate authorities in PEM
	BundleFile  string `yaml:"bundle_file"`  // a trust domain's SPIFFE bundle, as JSON or PEM
	TrustDomain string `yaml:"trust_domain"` // required with a bundle; "" means any that the authorities sign for
	ID          string `yaml:"id"`           // one SPIFFE id; "" means all, to be limited by claims
}

// Check returns an error if the settings are wrong. It reads no file.
func (s MTLSSettings) Check() error {
	switch {
	case (s.CAFile == "") == (s.BundleFile == ""):
		return errors.New("mtls has either ca_file, or bundle_file and trust_domain")
	case s.BundleFile != "" && s.TrustDomain == "":
		return errors.New("mtls: a bundle_file is of one trust_domain; name it")
	case s.TrustDomain != "" && !isTrustDomain(s.TrustDomain):
		return fmt.Errorf("mtls: trust_domain %q is none: lower-case letters, digits, dots, hyphens and underscores", s.TrustDomain)
	}
	if s.ID == "" {
		return nil
	}
	id, err := ParseID(s.ID)
	if err != nil {
		return fmt.Errorf("mtls: id %q: %w", s.ID, err)
	}
	if checkDomain(id, s.TrustDomain) != nil {
		return fmt.Errorf("mtls: id %q is not of the trust domain %s", s.ID, s.TrustDomain)
	}
	return nil
}

// Match returns the claims that the settings require.
func (s MTLSSettings) Match() broker.Exactly {
	m := broker.Exactly{}
	if s.ID != "" {
		m["spiffe_id"] = s.ID
	}
	return m
}

// An MTLSIdentifier verifies callers by client certificates. Its claims are spiffe_id,
// trust_domain, path, serial and fingerprint (both in hex; the fingerprint is the
// SHA-256).
//
// A certificate counts only on the TLS connection that used it. Headers with a
// certificate are ignored, so this does not work behind a proxy that terminates TLS.
// The listener asks for a certificate but does not require one
// ([crypto/tls.VerifyClientCertIfGiven]), with the authorities of all rules ([Pool]).
// Each identifier verifies the chain again with its own authorities, at every request:
// a certificate that expires during a connection is then refused
// (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md).
type MTLSIdentifier struct {
	trustDomain string
	authorities *authorities
	now         func() time.Time
}

// NewMTLS returns the identifier for settings. It ignores their ID.
func NewMTLS(s MTLSSettings) *MTLSIdentifier {
	return &MTLSIdentifier{trustDomain: s.TrustDomain, authorities: newAuthorities(s), now: time.Now}
}

// Identify implements [broker.Identifier].
func (i *MTLSIdentifier) Identify(_ context.Context, r *http.Request) (broker.Caller, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return broker.Caller{}, broker.ErrNoProof
	}
	leaf := r.TLS.PeerCertificates[0]
	id, err := i.verify(leaf, r.TLS.PeerCertificates[1:])
	if err != nil {
		return broker.Caller{}, i.refused(fmt.Errorf("the client certificate does not hold: %w", err))
	}
	sum := sha256.Sum256(leaf.Raw)
	claims := map[string]any{"serial": leaf.SerialNumber.Text(16), "fingerprint": hex.EncodeToString(sum[:])}
	describe(id, claims)
	return broker.NewCaller(MTLSMethod, claims)
}

// CheckMTLSClaims returns an error if a rule for trustDomain ("" means any) accepts no
// certificate with the claim spiffe_id. It adds the claims that follow from it. It is
// for claims in tests and explanations, which are not proved.
func CheckMTLSClaims(trustDomain string, claims map[string]any) error {
	text, isText := claims["spiffe_id"].(string)
	if !isText {
		return nil // the rule reports that it is missing
	}
	id, err := ParseID(text)
	if err == nil {
		err = checkDomain(id, trustDomain)
	}
	if err == nil {
		describe(id, claims)
	}
	return err
}

var errDomain = errors.New("it is of another trust domain")

// checkDomain returns an error unless id is of the trust domain; "" means any.
func checkDomain(id spiffeid.ID, trustDomain string) error {
	if trustDomain != "" && id.TrustDomain().Name() != trustDomain {
		return errDomain
	}
	return nil
}

// describe sets the claims that follow from an id.
func describe(id spiffeid.ID, claims map[string]any) {
	claims["spiffe_id"], claims["trust_domain"], claims["path"] = id.String(), id.TrustDomain().Name(), id.Path()
}

// refused adds to the error, for the log, which authorities of the bundle were skipped:
// one of them may have issued the certificate.
func (i *MTLSIdentifier) refused(err error) error {
	over := i.authorities.passedOver()
	if _, isRefusal := errors.AsType[*broker.Refusal](err); isRefusal || over == nil {
		return err
	}
	return &broker.Refusal{Status: http.StatusUnauthorized, Reason: broker.ReasonIdentity, Detail: fmt.Sprintf("%.300s", err), Err: over}
}

func (i *MTLSIdentifier) verify(leaf *x509.Certificate, rest []*x509.Certificate) (spiffeid.ID, error) {
	certificates, err := i.authorities.get(i.now())
	if err != nil {
		return spiffeid.ID{}, &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonInternal, RetryAfter: time.Minute, Detail: "the broker cannot read the authorities of client certificates", Err: err}
	}
	id, err := svid(leaf)
	if err != nil {
		return spiffeid.ID{}, err
	}
	if err := checkDomain(id, i.trustDomain); err != nil {
		return spiffeid.ID{}, err
	}
	intermediates := x509.NewCertPool()
	for _, c := range rest {
		intermediates.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: pool(certificates), Intermediates: intermediates, CurrentTime: i.now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return spiffeid.ID{}, errors.New(usererr.Escape(err.Error()))
	}
	return id, nil
}

// svid returns the id of a certificate, if it is valid for a workload.
func svid(leaf *x509.Certificate) (spiffeid.ID, error) {
	switch {
	case leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return spiffeid.ID{}, errors.New("it is one that signs others")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return spiffeid.ID{}, errors.New("its key is not for digital signatures")
	}
	uris, err := urisIn(leaf)
	if err != nil {
		return spiffeid.ID{}, err
	}
	if len(uris) != 1 {
		return spiffeid.ID{}, fmt.Errorf("it has %d URIs, where one is right: the SPIFFE id", len(uris))
	}
	return ParseID(uris[0])
}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17} // RFC 5280, 4.2.1.6

// urisIn returns the URIs of a certificate exactly as written. [x509.Certificate] has
// parsed URLs: it writes SPIFFE://a/b and spiffe://a/b# as spiffe://a/b.
func urisIn(leaf *x509.Certificate) (uris []string, err error) {
	const uri = 6 // uniformResourceIdentifier in GeneralNames
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(subjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 {
			return nil, errors.New("its names cannot be read")
		}
		for _, name := range names {
			if name.Class == asn1.ClassContextSpecific && name.Tag == uri {
				uris = append(uris, string(name.Bytes))
			}
		}
	}
	return uris, nil
}

// Pool returns the authorities of all identifiers, for the listener; nil if there are
// none. Call it for every connection, because the files may change.
func Pool(identifiers ...*MTLSIdentifier) *x509.CertPool {
	var all []*x509.Certificate
	for _, i := range identifiers {
		certificates, err := i.authorities.get(i.now())
		if err != nil {
			continue // Identify reports it to callers with a certificate
		}
		all = append(all, certificates...)
	}
	if all == nil {
		return nil
	}
	return pool(all)
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certificates {
		p.AddCert(c)
	}
	return p
}

// The maximum lengths in the standard, in bytes
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md). The library does
// not check them.
const (
	maxID          = 2048
	maxTrustDomain = 255
)

// ParseID parses a workload's SPIFFE id. It decodes, folds and cleans nothing. It
// refuses a trust domain's id, which has no path.
func ParseID(text string) (spiffeid.ID, error) {
	if len(text) > maxID {
		return spiffeid.ID{}, fmt.Errorf("the SPIFFE id is %d bytes long, and at most %d are taken", len(text), maxID)
	}
	id, err := spiffeid.FromString(text)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("this is no SPIFFE id: %w", err)
	}
	if n := len(id.TrustDomain().Name()); n > maxTrustDomain {
		return spiffeid.ID{}, fmt.Errorf("its trust domain is %d bytes long, and at most %d are taken", n, maxTrustDomain)
	}
	if id.Path() == "" {
		return spiffeid.ID{}, errors.New("it has no path, and so names no workload")
	}
	return id, nil
}

// isTrustDomain reports whether s is the name of a trust domain. The library also
// accepts an id in its place.
func isTrustDomain(s string) bool {
	domain, err := spiffeid.TrustDomainFromString(s)
	return err == nil && domain.Name() == s && len(s) <= maxTrustDomain
}
