package azurekeys

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/mint/signer"
)

var errOtherKey = errors.New("another key")

// versionOf reads the identifier of a version of the Signer's key, in lower case:
// identifiers are compared without regard to it
// (https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#object-identifiers).
func (s *Signer) versionOf(id *azkeys.ID) (string, error) {
	if id == nil {
		return "", errOtherKey
	}
	prefix := strings.ToLower("https://" + s.host + "/keys/" + s.key + "/")
	version, ok := strings.CutPrefix(strings.ToLower(string(*id)), prefix)
	if !ok || !isVersion(version) {
		return "", errOtherKey
	}
	return version, nil
}

func wrongKey(id *azkeys.ID) error {
	answered := "of none"
	if id != nil {
		answered = string(*id)
	}
	return signer.New("the answer is of another key, "+usererr.Escape(answered), wrongServer)
}

// check returns an error where a version cannot sign for a GitHub App. How long its
// key is, the key itself says.
func check(what string, b *azkeys.KeyBundle) error {
	kind := azkeys.KeyType("")
	if b.Key.Kty != nil {
		kind = *b.Key.Kty
	}
	switch {
	case kind != azkeys.KeyTypeRSA && kind != azkeys.KeyTypeRSAHSM:
		return usererr.New(what, "its type is "+strconv.Quote(string(kind))+"; GitHub Apps have RSA keys", makeKey)
	case b.Attributes != nil && b.Attributes.Enabled != nil && !*b.Attributes.Enabled:
		return usererr.New(what, "the version is disabled", enable)
	case len(b.Key.KeyOps) > 0 && !slices.ContainsFunc(b.Key.KeyOps, isSign):
		return usererr.New(what, "this key cannot sign: sign is not among its operations (key_ops)", makeKey)
	}
	return nil
}

func isSign(o *azkeys.KeyOperation) bool { return o != nil && *o == azkeys.KeyOperationSign }

// parseJWK reads the public half of an RSA key (RFC 7518, section 6.3.1). It has to
// be one that GitHub takes.
func parseJWK(k *azkeys.JSONWebKey) (*rsa.PublicKey, error) {
	e := new(big.Int).SetBytes(k.E)
	if len(k.N) > maxModulus || e.BitLen() > 31 {
		return nil, errors.New("its public key is damaged")
	}
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(k.N), E: int(e.Int64())})
	if err != nil {
		return nil, errors.New("its public key is damaged")
	}
	return mint.ParsePublicKey(der)
}

// maxModulus is more than the longest RSA key of Key Vault has, in bytes.
const maxModulus = 1024
