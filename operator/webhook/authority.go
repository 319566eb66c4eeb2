package webhook

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"time"
)

// A timing says how long authorities live and when they are replaced. The durations count
// from the creation of an authority.
type timing struct {
	life       time.Duration // lifetime of an authority and of the certificates that it signs
	renew      time.Duration // a successor is made this long before the authority expires
	settle     time.Duration // a successor is trusted this long before it signs
	overlap    time.Duration // an authority is trusted until its successor has this age
	checkEvery time.Duration // interval between checks of the Secret and the configuration

	drainTime time.Duration // how long the webhook still serves after its context ended
}

// defaultTiming is used outside of tests.
var defaultTiming = timing{life: 365 * 24 * time.Hour, renew: 120 * 24 * time.Hour, settle: 5 * time.Minute, overlap: time.Hour, checkEvery: 10 * time.Second, drainTime: 3 * time.Second}

// backdated is how far a clock may lag behind the clock of the replica that made a
// certificate.
const backdated = time.Hour

// An authority signs serving certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func (a authority) made() time.Time { return a.certificate.NotBefore.Add(backdated) }

// newAuthority makes an authority that is valid from now.
func newAuthority(now time.Time, p timing) (authority, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: SecretName}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	return sign(template, now, now.Add(p.life), nil)
}

// sign makes a key, and a certificate from template that parent signs, or the key
// itself if parent is nil.
func sign(template *x509.Certificate, now, end time.Time, parent *authority) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return authority{}, err
	}
	template.NotBefore, template.NotAfter = now.Add(-backdated), end
	signer := authority{template, key}
	if parent != nil {
		signer = *parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, key.Public(), signer.key)
	if err != nil {
		return authority{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	return authority{certificate, key}, err
}

// issue makes the serving certificate of a host: a DNS name or an IP address.
func (a authority) issue(host string, now time.Time) (*tls.Certificate, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: SecretName}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	leaf, err := sign(template, now, a.certificate.NotAfter, &a)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.certificate.Raw}, PrivateKey: leaf.key, Leaf: leaf.certificate}, nil
}

// authorities are the trusted authorities, oldest first.
type authorities []authority

// current returns the authorities that are trusted at now.
func (all authorities) current(now time.Time, p timing) authorities {
	var kept authorities
	for i, one := range all {
		isReplaced := i+1 < len(all) && !now.Before(all[i+1].made().Add(p.overlap))
		if !isReplaced && now.Before(one.certificate.NotAfter) {
			kept = append(kept, one)
		}
	}
	return kept
}

// needSuccessor reports whether the newest authority expires soon.
func (all authorities) needSuccessor(now time.Time, p timing) bool {
	return len(all) == 0 || all[len(all)-1].certificate.NotAfter.Sub(now) < p.renew
}

// signing returns the newest authority that has settled, or else the oldest. A
// successor that cannot settle before its predecessor expires signs at once.
func (all authorities) signing(now time.Time, p timing) authority {
	for i := len(all) - 1; i > 0; i-- {
		settled := all[i].made().Add(p.settle)
		if !now.Before(settled) || all[i-1].certificate.NotAfter.Before(settled) {
			return all[i]
		}
	}
	return all[0]
}

// PEM block types.
const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

// bundle returns the certificates in PEM.
func (all authorities) bundle() []byte {
	var text []byte
	for _, one := range all {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: one.certificate.Raw})...)
	}
	return text
}

// keys returns the keys in PEM, in the order of the certificates.
func (all authorities) keys() ([]byte, error) {
	var text []byte
	for _, one := range all {
		der, err := x509.MarshalPKCS8PrivateKey(one.key)
		if err != nil {
			return nil, err
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})...)
	}
	return text, nil
}

var errNoAuthorities = errors.New("it does not have certificates with their keys")

// parseAuthorities parses the output of bundle and keys. Its errors never contain the
// text.
func parseAuthorities(certificates, keys []byte) (authorities, error) {
	var all authorities
	for {
		certificate, restOfCertificates := pem.Decode(certificates)
		key, restOfKeys := pem.Decode(keys)
		if certificate == nil && key == nil {
			break
		}
		if certificate == nil || key == nil || certificate.Type != certificateBlock || key.Type != keyBlock {
			return nil, errNoAuthorities
		}
		one, err := parseAuthority(certificate.Bytes, key.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
		certificates, keys = restOfCertificates, restOfKeys
	}
	if len(all) == 0 || len(bytes.TrimSpace(certificates))+len(bytes.TrimSpace(keys)) > 0 {
		return nil, errNoAuthorities
	}
	return all, nil
}

func parseAuthority(certificate, key []byte) (authority, error) {
	parsed, err := x509.ParseCertificate(certificate)
	private, err2 := x509.ParsePKCS8PrivateKey(key)
	ec, isEC := private.(*ecdsa.PrivateKey)
	if err != nil || err2 != nil || !isEC || !parsed.IsCA || !ec.PublicKey.Equal(parsed.PublicKey) {
		return authority{}, errNoAuthorities
	}
	return authority{parsed, ec}, nil
}
