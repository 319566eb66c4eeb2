package vaulttransit

import (
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/mint"
)

// versions are the public halves of a key that Vault shows: those from its
// min_decryption_version on.
type versions struct {
	latest int
	public map[int]*rsa.PublicKey
}

// get returns the public half of a version, 0 for the newest; nil when it is not
// shown.
func (v *versions) get(version int) *rsa.PublicKey {
	if version == 0 {
		version = v.latest
	}
	return v.public[version]
}

var errNoKey = errors.New("its answer is none of a transit engine")

// parseVersions reads the answer of GET /transit/keys/:name
// (https://developer.hashicorp.com/vault/api-docs/secret/transit#read-key) and
// returns an error unless the newest version can sign for a GitHub App.
func parseVersions(data map[string]json.RawMessage) (*versions, error) {
	var kind string
	if json.Unmarshal(data["type"], &kind) != nil {
		return nil, errNoKey
	}
	if !strings.HasPrefix(kind, "rsa-") {
		return nil, fmt.Errorf("the key is of type %s; GitHub Apps have RSA keys", oneline.Escape(kind))
	}
	var keys map[string]struct {
		PublicKey string `json:"public_key"`
	}
	v := &versions{public: map[int]*rsa.PublicKey{}}
	if json.Unmarshal(data["keys"], &keys) != nil || json.Unmarshal(data["latest_version"], &v.latest) != nil {
		return nil, errNoKey
	}
	for text, key := range keys {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1 {
			return nil, errNoKey
		}
		block, _ := pem.Decode([]byte(key.PublicKey))
		if block == nil {
			return nil, errNoKey
		}
		if v.public[number], err = mint.ParsePublicKey(block.Bytes); err != nil {
			return nil, err
		}
	}
	if v.public[v.latest] == nil {
		return nil, errNoKey
	}
	return v, nil
}
