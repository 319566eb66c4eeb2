// Package signer is the common part of the signers for the cloud KMSs and Vault: it
// reads the public half of the key once, checks every signature, keeps deadlines, and
// makes errors of one line.
//
// Each signer embeds a [Key] and gives it two functions: Look reads the public halves,
// Ask signs. [Call] makes one call with a client that is opened when first needed.
package signer

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// Versions are the public halves of a key that a KMS shows.
type Versions struct {
	Current string // the version that signs next
	Public  map[string]*rsa.PublicKey
}

// One returns Versions with one version.
func One(version string, key *rsa.PublicKey) *Versions {
	return &Versions{version, map[string]*rsa.PublicKey{version: key}}
}

// Get returns the public half of a version, "" for the current one; nil if the KMS does
// not show it.
func (v *Versions) Get(version string) *rsa.PublicKey {
	if version == "" {
		version = v.Current
	}
	return v.Public[version]
}

// A Key is one key in a KMS. It implements [mint.Signer] and [mint.PublicKeyer].
type Key struct {
	// PublicKeys asks for the public halves. It returns an error unless the current one can
	// sign for a GitHub App. version is the version that signed, or "".
	PublicKeys func(ctx context.Context, version string) (*Versions, error)
	// SignWith asks the KMS to sign with a version; "" is the current one. by is the version
	// that signed.
	SignWith func(ctx context.Context, version string, digest [sha256.Size]byte) (signature []byte, by string, err error)
	// Pinned keeps the first version for the life of the Key. Otherwise PublicKey calls
	// Look each time.
	Pinned bool
	// Name returns the start of the errors, such as "the Azure key NAME"; Check is what
	// to check if a signature is wrong.
	Name  func(version string) string
	Check string

	mu       sync.Mutex // guards versions; held during a call of Look
	versions *Versions
}

// PublicKey implements [mint.PublicKeyer]. It returns an error unless the key can
// sign for a GitHub App.
func (k *Key) PublicKey(ctx context.Context) (*rsa.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	look := k.PublicKeys
	if k.Pinned {
		look = k.known
	}
	v, err := look(ctx, "")
	if err != nil {
		return nil, err
	}
	return v.Get(""), nil
}

// Sign implements [mint.Signer]. It calls Look before the first signature, and again if
// an unknown version signs. It checks each signature with the public half of its
// version. It makes no call after ctx's deadline.
func (k *Key) Sign(ctx context.Context, digest [sha256.Size]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	v, err := k.known(ctx, "")
	if err != nil {
		return nil, err
	}
	signature, by, err := k.SignWith(ctx, v.Current, digest)
	if err != nil {
		return nil, err
	}
	if v, err = k.known(ctx, by); err != nil {
		return nil, err
	}
	if err := mint.CheckSignature(v.Get(by), digest, signature); err != nil {
		return nil, usererr.Wrap("sign with "+k.Name(v.Current), err, k.Check)
	}
	return signature, nil
}

// known returns the public halves, including that of version if the KMS shows it.
func (k *Key) known(ctx context.Context, version string) (*Versions, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.versions != nil && k.versions.Get(version) != nil {
		return k.versions, nil
	}
	v, err := k.PublicKeys(ctx, version)
	if err != nil {
		return nil, err
	}
	k.versions = v
	return v, nil
}

// ParsePEM parses a public key in PEM form. It returns an error for a key that GitHub
// would refuse.
func ParsePEM(text string) (*rsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("its public key is damaged")
	}
	return mint.ParsePublicKey(block.Bytes)
}

// CheckURL returns an error unless u has that scheme and no user, password, fragment or
// query. form is the hint in that error. what starts errors about u.
func CheckURL(u *url.URL, scheme, form string) (what string, err error) {
	what = "signer " + scheme + "://" + u.Host + u.Path
	switch {
	case u.Scheme != scheme:
		return what, usererr.New("signer", "its scheme is not "+scheme, form)
	case u.User != nil || u.Opaque != "" || u.Fragment != "":
		return what, usererr.New("signer "+scheme+"://"+u.Host, "a key's URL must not have a user, password or fragment", form)
	case u.RawQuery != "" || u.ForceQuery:
		return what, usererr.New(what, "it must not have a query", "remove the part from ? on")
	}
	return what, nil
}

// IsName reports whether s consists of letters, digits and any of marks, and is between
// one and max bytes long.
func IsName(s, marks string, max int) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		isAlnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !isAlnum && strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= max
}
