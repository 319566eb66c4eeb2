package vaultstore

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/credential/vaultclient"
)

// version says how to read a secrets engine.
type version int

const (
	unknown   version = iota // Vault must be asked
	plain                    // KV version 1, and engines that are not KV
	versioned                // KV version 2, which has data/ in its paths
)

// A mount is the path of a secrets engine.
type mount struct {
	path    string // with a slash at the end
	version version
}

// apiPath returns the engine's API path for the secret full.
func (m mount) apiPath(full string) string {
	if m.version != versioned {
		return full
	}
	return m.path + "data/" + strings.TrimPrefix(full, m.path)
}

// mountOf returns the engine that holds full. It asks Vault once for each engine: the
// path of a mount never starts with another mount's path.
func (s *Source) mountOf(ctx context.Context, what, full string) (mount, error) {
	if s.version != unknown {
		return mount{path: s.mount + "/", version: s.version}, nil
	}
	s.mu.Lock()
	for _, m := range s.mounts {
		if strings.HasPrefix(full, m.path) {
			s.mu.Unlock()
			return m, nil
		}
	}
	s.mu.Unlock()
	// Vault's command line uses this endpoint too: a token that may read something in a
	// mount may read its version.
	answer, err := s.client.Read(ctx, what, "sys/internal/ui/mounts/"+full)
	if r, ok := errors.AsType[*vaultclient.Refusal](err); ok && r.Status == http.StatusNotFound {
		return mount{path: s.mount + "/", version: plain}, nil // a Vault older than KV version 2
	}
	if err != nil {
		return mount{}, err
	}
	m := decodeMount(answer.Data, s.mount, full)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.mounts, m) { // another request may have added it meanwhile
		s.mounts = append(s.mounts, m)
	}
	return m, nil
}

// forget drops an engine, so that Vault is asked again: it may have been upgraded or
// replaced.
func (s *Source) forget(m mount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mounts = slices.DeleteFunc(s.mounts, func(known mount) bool { return known == m })
}

// decodeMount reads path and version. An engine without either is a plain one with a
// path of one segment.
func decodeMount(data map[string]json.RawMessage, first, full string) mount {
	m := mount{path: first + "/", version: plain}
	var path string
	if json.Unmarshal(data["path"], &path) == nil && strings.HasSuffix(path, "/") && strings.HasPrefix(full, path) {
		m.path = path
	}
	var kind string
	var options struct {
		Version string `json:"version"`
	}
	_ = json.Unmarshal(data["type"], &kind)
	_ = json.Unmarshal(data["options"], &options)
	if kind == "kv" && options.Version == "2" {
		m.version = versioned
	}
	return m
}
