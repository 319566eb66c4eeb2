// Package vaultstore reads tokens from HashiCorp Vault:
//
//	vault://MOUNT/PATH?field=…&addr=…&auth=…&role=…&namespace=…
//
// MOUNT is a KV engine of version 1 or 2, or an engine that makes tokens and answers
// with a lease, such as one for GitHub Apps. PATH may contain placeholders. The other
// keys, and the origin of the login, are those of package vaultclient.
package vaultstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A Source is one secret or, with placeholders, one for each workspace, host, owner or
// repository.
type Source struct {
	mount     string
	path      credential.Template // below the mount
	field     string
	version   version
	workspace string
	client    *vaultclient.Client

	mu     sync.Mutex // guards mounts
	mounts []mount
}

// Key returns the same key for requests that read the same secret, which share a token.
func (s *Source) Key(req credential.Request) string { return s.path.Key(req) }

// Upkeep renews the Vault token of the reads. The agent calls it from time to time.
func (s *Source) Upkeep(ctx context.Context) { s.client.Upkeep(ctx) }

// Token reads the secret. The token expires with its lease or at the time in the field
// expires_at, whichever comes first; without either, an hour after this version was
// written to a KV engine of version 2. Version 1 does not record that time: the token
// is then valid for unknownAge, so that it is soon read again.
func (s *Source) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	path, err := s.path.Expand(req)
	if err != nil {
		return credential.Token{}, err
	}
	full := s.mount + "/" + path
	what := "read " + full + " in " + s.client.Where()
	if !vaultclient.IsPath(full) {
		return credential.Token{}, usererr.New(what, "this is not a path of Vault", form)
	}
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	m, err := s.mountOf(ctx, what, full)
	if err != nil {
		return credential.Token{}, s.describe(what, m, full, err)
	}
	asked := time.Now()
	answer, err := s.client.Read(ctx, what, m.apiPath(full))
	if err != nil {
		return credential.Token{}, s.describe(what, m, full, err)
	}
	token, err := decode(answer, m.version, s.field, asked)
	if err != nil {
		return credential.Token{}, s.unusable(what, err)
	}
	return s.alive(what, answer, token)
}

// alive returns an error for an expired token. A lease also ends with the Vault token
// that made it.
func (s *Source) alive(what string, answer *vaultclient.Answer, token credential.Token) (credential.Token, error) {
	if end := s.client.Deadline(); answer.Leased && !end.IsZero() && end.Before(token.Expiry) {
		token.Expiry = end
	}
	if token.Expiry.After(time.Now()) {
		return token, nil
	}
	do := "refresh it on the issuing side: gatepass workspace refresh " + s.workspaceOr("ID")
	if answer.Leased {
		do = "compare the clocks of this machine and Vault's"
	}
	return credential.Token{}, usererr.New(what, "the token in it expired at "+token.Expiry.UTC().Format(time.RFC3339), do)
}

func (s *Source) workspaceOr(other string) string {
	if s.workspace == "" {
		return other
	}
	return s.workspace
}

// unusable returns the error for a secret that was read but holds no usable token.
func (s *Source) unusable(what string, err error) error {
	missing, ok := errors.AsType[*missingError](err)
	switch {
	case ok && len(missing.fields) == 0:
		return usererr.New(what, "it has no field "+s.field, "correct field in the source, or deliver the token on the issuing side: gatepass workspace create")
	case ok:
		return usererr.New(what, "it has no field "+s.field, "set &field= in the source to one of "+strings.Join(missing.fields, ", "))
	}
	return usererr.Wrap(what, err, "")
}
