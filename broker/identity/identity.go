// Package identity authenticates callers of the broker: a process on a Unix socket
// ([SocketIdentifier]), the owner of a TLS client certificate ([MTLSIdentifier]), a workspace
// with a session for a join token ([SessionIdentifier]), or an operator with a bearer token
// ([BearerIdentifier]). Packages oidc and aws have the proofs that need large libraries.
package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
)

// minToken is the shortest accepted token, in bytes. A shorter one could be guessed from its
// hash.
const minToken = 24

// BearerIdentifier accepts the bearer token with that hash. The zero BearerIdentifier accepts
// none. It is for operators only: workspaces do not get tokens that never expire.
type BearerIdentifier struct{ hash [sha256.Size]byte }

// ParseBearer parses the SHA-256 of a token as sha256sum prints it.
func ParseBearer(text string) (BearerIdentifier, error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != sha256.Size {
		return BearerIdentifier{}, errors.New("want the SHA-256 of a token, 64 hexadecimal digits")
	}
	i := BearerIdentifier{[sha256.Size]byte(data)}
	if i == (BearerIdentifier{}) {
		return BearerIdentifier{}, errors.New("this is the SHA-256 of an empty token")
	}
	return i, nil
}

// Identify implements [broker.Identifier]. It leaves another token to other
// identifiers.
func (i BearerIdentifier) Identify(_ context.Context, r *http.Request) (broker.Caller, error) {
	token := api.Bearer(r)
	sum := sha256.Sum256([]byte(token))
	if len(token) < minToken || subtle.ConstantTimeCompare(sum[:], i.hash[:]) != 1 {
		return broker.Caller{}, broker.ErrNoProof
	}
	return broker.Caller{Method: "token", Subject: "token sha256:" + hex.EncodeToString(i.hash[:4]), Claims: map[string]any{}}, nil
}

// SocketSettings say which peers a rule is for; a nil field matches all.
type SocketSettings struct {
	UID *uint32 `yaml:"uid"`
	GID *uint32 `yaml:"gid"`
}

// Match returns the matcher of the settings.
func (s SocketSettings) Match() broker.Exactly {
	m := broker.Exactly{}
	if s.UID != nil {
		m["uid"] = strconv.FormatUint(uint64(*s.UID), 10)
	}
	if s.GID != nil {
		m["gid"] = strconv.FormatUint(uint64(*s.GID), 10)
	}
	return m
}
