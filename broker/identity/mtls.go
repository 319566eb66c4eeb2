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

// MTLSMethod is the method of callers with a client certificate.
const MTLSMethod = "mtls"

// MTLSSettings say which certificates a rule is for.
type MTLSSettings struct {
	CAFile      string `yaml:"ca_file"`      // certificate authorities in PEM
	BundleFile  string `yaml:"bundle_file"`  // a trust domain's SPIFFE bundle, as JSON or PEM
	TrustDomain string `yaml:"trust_domain"` // required with a bundle; "" means any that the authorities sign for
	ID          string `yaml:"id"`           // one SPIFFE ID; "" means all, to be limited by claims
}

// Check returns what is wrong with the settings. It reads no file.
func (s MTLSSettings) Check() error {
	switch {
	case (s.CAFile == "") == (s.BundleFile == ""):
		return errors.New("mtls must have either ca_file, or bundle_file and trust_domain")
	case s.BundleFile != "" && s.TrustDomain == "":
		return errors.New("mtls: bundle_file needs trust_domain")
	case s.TrustDomain != "" && !isTrustDomain(s.TrustDomain):
		return fmt.Errorf("mtls: trust_domain %q must consist of lower-case letters, digits, dots, hyphens and underscores", s.TrustDomain)
	}
	if s.ID == "" {
		return nil
	}
	id, err := ParseID(s.ID)
	if err != nil {
		return fmt.Errorf("mtls: id %q: %w", s.ID, err)
	}
	if checkDomain(id, s.TrustDomain) != nil {
		return fmt.Errorf("mtls: id %q is not in the trust domain %s", s.ID, s.TrustDomain)
	}
	return nil
}

// Match returns the matcher of the settings.
func (s MTLSSettings) Match() broker.Exactly {
	m := broker.Exactly{}
	if s.ID != "" {
		m["spiffe_id"] = s.ID
	}
	return m
}

// An MTLSIdentifier accepts client certificates of its authorities. Its claims are spiffe_id,
// trust_domain, path, serial and fingerprint (the last two in hex; the fingerprint is
// SHA-256).
//
// A certificate counts only on its own connection: no header is trusted, so mtls does not
// work behind a proxy that ends TLS. The listener requests certificates with the authorities
// of all rules ([Pool]) and does not require one ([crypto/tls.VerifyClientCertIfGiven]). Each
// identifier verifies the chain again with its own authorities, at every request, so that a
// certificate that expires on an open connection is refused
// (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md).
type MTLSIdentifier struct {
	trustDomain string
	authorities *authorities
	now         func() time.Time
}

// NewMTLS makes the identifier of settings, ignoring their ID.
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
		return broker.Caller{}, i.refused(fmt.Errorf("the client certificate is not valid: %w", err))
	}
	sum := sha256.Sum256(leaf.Raw)
	claims := map[string]any{"serial": leaf.SerialNumber.Text(16), "fingerprint": hex.EncodeToString(sum[:])}
	describe(id, claims)
	return broker.NewCaller(MTLSMethod, claims)
}

// CheckMTLSClaims returns an error if no certificate with the claim spiffe_id could match a
// rule for trustDomain ("" is any), and adds the claims that follow from it. It is for claims
// in test cases.
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

var errDomain = errors.New("it is in another trust domain")

// checkDomain returns an error unless the ID belongs to the trust domain; "" is any.
func checkDomain(id spiffeid.ID, trustDomain string) error {
	if trustDomain != "" && id.TrustDomain().Name() != trustDomain {
		return errDomain
	}
	return nil
}

// describe sets the claims that follow from an ID.
func describe(id spiffeid.ID, claims map[string]any) {
	claims["spiffe_id"], claims["trust_domain"], claims["path"] = id.String(), id.TrustDomain().Name(), id.Path()
}

// refused adds, for the log, which authorities of the bundle were skipped: one of them may
// have signed the certificate.
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

// svid returns the SPIFFE ID of a certificate that is valid for a workload.
func svid(leaf *x509.Certificate) (spiffeid.ID, error) {
	switch {
	case leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return spiffeid.ID{}, errors.New("it belongs to an authority")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return spiffeid.ID{}, errors.New("its key usage is not digital signature")
	}
	uris, err := urisIn(leaf)
	if err != nil {
		return spiffeid.ID{}, err
	}
	if len(uris) != 1 {
		return spiffeid.ID{}, fmt.Errorf("it has %d URIs; it must have one, the SPIFFE ID", len(uris))
	}
	return ParseID(uris[0])
}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17} // RFC 5280, 4.2.1.6

// urisIn returns the URIs of a certificate unchanged. Those in [x509.Certificate] were parsed
// as URLs: printed again, SPIFFE://a/b and spiffe://a/b# become spiffe://a/b.
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

// Pool returns the authorities of all the identifiers, for the listener; nil if there are
// none. Their files may change: call it for every connection.
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

// ParseID parses the SPIFFE ID of a workload without decoding, folding or cleaning it. It
// refuses the ID of a trust domain, which has no path.
func ParseID(text string) (spiffeid.ID, error) {
	if len(text) > maxID {
		return spiffeid.ID{}, fmt.Errorf("the SPIFFE ID has %d bytes, more than %d", len(text), maxID)
	}
	id, err := spiffeid.FromString(text)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("this is not a SPIFFE ID: %w", err)
	}
	if n := len(id.TrustDomain().Name()); n > maxTrustDomain {
		return spiffeid.ID{}, fmt.Errorf("its trust domain has %d bytes, more than %d", n, maxTrustDomain)
	}
	if id.Path() == "" {
		return spiffeid.ID{}, errors.New("it has no path, so it does not name a workload")
	}
	return id, nil
}

// isTrustDomain reports whether s is the name of a trust domain. The library also accepts an
// ID.
func isTrustDomain(s string) bool {
	domain, err := spiffeid.TrustDomainFromString(s)
	return err == nil && domain.Name() == s && len(s) <= maxTrustDomain
}
