package vaulttransit

import (
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/mint/signer"
)

var errNoKey = errors.New("its answer is none of a transit engine")

// parseVersions reads the answer of GET /transit/keys/:name
// (https://developer.hashicorp.com/vault/api-docs/secret/transit#read-key), which
// shows the versions from min_decryption_version on, and returns an error unless the newest version can sign for a GitHub App.
func parseVersions(data map[string]json.RawMessage) (*signer.Versions, error) {
	var kind string
	if json.Unmarshal(data["type"], &kind) != nil {
		return nil, errNoKey
	}
	if !strings.HasPrefix(kind, "rsa-") {
		return nil, fmt.Errorf("the key is of type %s; GitHub Apps have RSA keys", usererr.Escape(kind))
	}
	var keys map[string]struct {
		PublicKey string `json:"public_key"`
	}
	var latest int
	if json.Unmarshal(data["keys"], &keys) != nil || json.Unmarshal(data["latest_version"], &latest) != nil {
		return nil, errNoKey
	}
	v := &signer.Versions{Current: strconv.Itoa(latest), Public: map[string]*rsa.PublicKey{}}
	for text, key := range keys {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1 {
			return nil, errNoKey
		}
		block, _ := pem.Decode([]byte(key.PublicKey))
		if block == nil {
			return nil, errNoKey
		}
		if v.Public[strconv.Itoa(number)], err = mint.ParsePublicKey(block.Bytes); err != nil {
			return nil, err
		}
	}
	if v.Get("") == nil {
		return nil, errNoKey
	}
	return v, nil
}
