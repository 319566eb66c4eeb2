package vaultstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// describe turns a refusal into one line. It returns other errors unchanged, because
// they are lines already.
func (s *Source) describe(what string, m mount, full string, err error) error {
	r, ok := errors.AsType[*vaultclient.Refusal](err)
	if !ok {
		return err
	}
	s.forget(m)
	switch r.Status {
	case http.StatusForbidden:
		return s.denied(what, m, full, r)
	case http.StatusNotFound:
		return s.notFound(what, m, full, r)
	case http.StatusMethodNotAllowed:
		return usererr.New(what, "this path cannot be read"+r.Shown(), "check mount and path in the source")
	}
	return usererr.New(what, fmt.Sprintf("Vault refuses (%d)", r.Status)+r.Shown(), "check mount, path and addr in the source")
}

// denied returns the error for a live Vault token that was denied. A token that may
// read nothing in a mount cannot tell whether the mount exists.
func (s *Source) denied(what string, m mount, full string, r *vaultclient.Refusal) error {
	if m == (mount{}) {
		return usererr.New(what, "permission denied, or there is no secrets engine at "+s.mount+"/",
			"check mount, path and namespace, or allow read on it in a policy of "+s.client.Identity())
	}
	return usererr.New(what, "permission denied"+r.Shown(),
		"allow read on "+m.apiPath(full)+" in a policy of "+s.client.Identity())
}

func (s *Source) notFound(what string, m mount, full string, r *vaultclient.Refusal) error {
	said := strings.ToLower(r.Messages)
	if strings.Contains(said, "no handler for route") || strings.Contains(said, "route entry not found") {
		return usererr.New(what, "there is no secrets engine at "+s.mount+"/", "correct the mount or the namespace: vault secrets list")
	}
	if strings.Contains(said, "versioned k/v") && s.version == plain {
		return usererr.New(what, "this is a KV engine of version 2", "leave kv=1 out of the source")
	}
	if at, ok := deletedAt(r.Data); ok {
		return usererr.New(what, "its newest version was deleted"+at, "deliver it again on the issuing side: gatepass workspace refresh "+s.workspaceOr("ID"))
	}
	do := "check the path in the source, or deliver it on the issuing side: gatepass workspace create"
	switch rest := strings.TrimPrefix(full, m.path); {
	case m.version == versioned && strings.HasPrefix(rest, "data/"):
		do = "write the path without data/: gatepass adds it for KV version 2"
	case s.version == versioned:
		do += "; kv=2 is only for KV engines of version 2 with a mount of one segment"
	}
	return usererr.New(what, "there is no such secret"+r.Shown(), do)
}

// deletedAt returns when the newest version of a secret in KV version 2 was deleted or
// destroyed.
func deletedAt(data map[string]json.RawMessage) (when string, ok bool) {
	var meta struct {
		Deletion  string `json:"deletion_time"`
		Destroyed bool   `json:"destroyed"`
	}
	if json.Unmarshal(data["metadata"], &meta) != nil || meta.Deletion == "" && !meta.Destroyed {
		return "", false
	}
	if t, err := time.Parse(time.RFC3339, meta.Deletion); err == nil {
		return " at " + t.UTC().Format(time.RFC3339), true
	}
	return "", true
}
