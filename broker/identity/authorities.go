package identity

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/filestamp"
	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	maxFile = 1 << 20          // bytes
	stale   = 10 * time.Minute // how long the last authorities are used after their file became unreadable
)

// authorities are the certificates of a file, which is read again when it changes. If it
// cannot be read, for example while it is being written, the last ones stay valid for a
// while.
type authorities struct {
	path  string
	parse func([]byte) ([]*x509.Certificate, error)

	mu   sync.Mutex // guards the rest
	seen filestamp.Stamp
	last []*x509.Certificate
	over error     // the keys of the file that were skipped, and why
	good time.Time // when last was last up to date
}

func newAuthorities(s MTLSSettings) *authorities {
	if s.BundleFile != "" {
		return &authorities{path: s.BundleFile, parse: parseBundle}
	}
	return &authorities{path: s.CAFile, parse: parsePEM}
}

func (a *authorities) get(now time.Time) ([]*x509.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	there, err := filestamp.Of(a.path)
	if err == nil && there == a.seen {
		a.good = now
		return a.last, nil
	}
	fresh, readErr := a.read()
	switch {
	case err == nil && (readErr == nil || fresh != nil):
		a.seen, a.last, a.over, a.good = there, fresh, readErr, now
	case a.last == nil || clock.Since(a.good, now) > stale:
		return nil, usererr.Wrap("read the authorities "+a.path, cmp.Or(readErr, err), "correct mtls in the broker's configuration")
	}
	return a.last, nil
}

// passedOver returns which keys of the file were skipped, and why.
func (a *authorities) passedOver() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.over
}

// CheckFiles reads the authorities, and returns in one line why they cannot be used.
func (s MTLSSettings) CheckFiles() error {
	a := newAuthorities(s)
	if _, err := a.read(); err != nil {
		return usererr.Wrap("read the authorities of callers "+a.path, err, "create or correct it")
	}
	return nil
}

func (a *authorities) read() ([]*x509.Certificate, error) {
	data, err := trustedfile.Read("the authorities", a.path, trustedfile.Writing, maxFile)
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, pathErr.Err
	}
	if err != nil {
		return nil, err
	}
	return a.parse(data)
}

// parsePEM parses certificates. It refuses any other content, so that a private key or half a
// certificate is noticed.
func parsePEM(data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("it must have only certificates in PEM form")
		}
		c, err := parseAuthority(block.Bytes)
		if err != nil {
			return nil, err
		}
		all, data = append(all, c), rest
	}
	if all == nil {
		return nil, errors.New("it has no certificate")
	}
	return all, nil
}

func parseAuthority(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("it has a malformed certificate")
	}
	if !c.IsCA {
		return nil, errors.New("it has a certificate that does not belong to an authority")
	}
	return c, nil
}

// parseBundle parses a SPIFFE bundle: a set of JSON Web Keys, in which each X.509 key
// has one certificate
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md),
// or PEM, which SPIRE also writes. If it returns authorities and an error, the error
// says which keys were skipped.
//
// It does not use the library's spiffebundle (nine packages, 12 kB). That refuses the
// whole bundle if it cannot use one key, although the standard says to ignore such
// keys; so a new kind of key would lock out all callers. It also requires the
// parameters of a JSON Web Key beside the certificate, which add nothing, and accepts
// certificates that are not an authority's.
func parseBundle(data []byte) ([]*x509.Certificate, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return parsePEM(data)
	}
	var set struct {
		Keys []struct {
			Use string   `json:"use"`
			X5C []string `json:"x5c"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("it is not a SPIFFE bundle")
	}
	var all []*x509.Certificate
	var unusable []error
	for i, key := range set.Keys {
		if key.Use != "x509-svid" {
			continue
		}
		c, err := parseX5C(key.X5C)
		if err != nil {
			unusable = append(unusable, fmt.Errorf("keys[%d] of the bundle cannot be used: %w", i, err))
			continue
		}
		all = append(all, c)
	}
	if all == nil {
		return nil, usererr.Join(append(unusable, errors.New("the bundle has no X.509 authority"))...)
	}
	return all, usererr.Join(unusable...)
}

// parseX5C parses the single certificate of a bundle's key.
func parseX5C(x5c []string) (*x509.Certificate, error) {
	if len(x5c) != 1 {
		return nil, errors.New("it must have exactly one certificate")
	}
	der, err := base64.StdEncoding.DecodeString(x5c[0])
	if err != nil {
		return nil, errors.New("it is not valid base64")
	}
	return parseAuthority(der)
}
