package vaultstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential/vaultclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// maxTries is how often Replace is tried while other clients write.
const maxTries = 20

// valueField is the field of entries that are not tokens. Tokens are in defaultField,
// where sources look for them.
const valueField = "value"

// A Store keeps every entry as a secret of a KV engine of version 2. It creates entries
// with check-and-set, and uses it to replace them if the engine requires it.
type Store struct {
	prefix string // "mount/prefix", or the mount alone
	client *vaultclient.Client

	mu     sync.Mutex // guards engine
	engine string     // the engine's path with a slash at the end; "" until Vault was asked
}

// OpenStore reads a store's URL, vault://mount[/prefix]?addr=…&auth=…, with the
// keys of a source that say how to reach Vault and how to log in. The first call of the
// store reads the environment and calls Vault.
func OpenStore(u *url.URL) (*Store, error) {
	const form = "write vault://MOUNT/PREFIX?addr=https://host[:port]&auth=METHOD"
	what := "store vault://" + u.Host + u.Path
	prefix := strings.TrimSuffix(u.Host+u.Path, "/")
	switch {
	case u.Scheme != "vault":
		return nil, usererr.New("store", "its scheme is not vault", form)
	case u.User != nil || u.Opaque != "" || u.Fragment != "":
		return nil, usererr.New("store vault://"+u.Host, "a store's URL must not have a user, password or fragment", form)
	case u.Port() != "":
		return nil, usererr.New(what, "the part after vault:// must be the mount, not the address", form)
	case u.Host == "" || !vaultclient.IsPath(prefix) || strings.ContainsAny(prefix, "{}%"):
		return nil, usererr.New(what, "it names no mount, or its path is not a path of Vault", form)
	}
	client, _, err := vaultclient.Open(what, u.RawQuery, "")
	if err != nil {
		return nil, err
	}
	return &Store{prefix: prefix, client: client}, nil
}

// Upkeep renews the Vault token. A long-lived process must call it from time to time.
func (s *Store) Upkeep(ctx context.Context) { s.client.Upkeep(ctx) }

// stored is the newest version of a secret.
type stored struct {
	version int // 0 if there was never one
	fields  map[string]json.RawMessage
	written time.Time
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	what := s.what("read", name)
	found, err := s.read(ctx, what, name)
	if err != nil {
		return store.Entry{}, err
	}
	if found.fields == nil {
		return store.Entry{}, &usererr.Error{Op: what, Err: store.ErrNotFound}
	}
	var text string
	if json.Unmarshal(found.fields[fieldOf(name)], &text) != nil || text == "" {
		return store.Entry{}, &usererr.Error{Op: what, Reason: "its field " + fieldOf(name) + " is missing or not a string", Hint: "another program wrote it; delete it, or choose another prefix", Err: store.ErrDamaged}
	}
	return store.Entry{Value: store.NewSecret(text), Modified: found.written}, nil
}

func fieldOf(name store.Name) string {
	if name.IsToken() {
		return defaultField
	}
	return valueField
}

// read returns the newest version. A deleted version has no fields.
func (s *Store) read(ctx context.Context, what string, name store.Name) (stored, error) {
	path, err := s.path(ctx, what, "data", name)
	if err != nil {
		return stored{}, err
	}
	answer, err := s.client.Read(ctx, what, path)
	refusal, ok := errors.AsType[*vaultclient.Refusal](err)
	switch {
	case ok && refusal.Status == http.StatusNotFound:
		return stored{version: versionOf(refusal.Data["metadata"])}, nil
	case err != nil:
		return stored{}, s.describe(what, "read", path, err)
	}
	fields, written, err := decodeVersion(answer.Data)
	if err != nil {
		return stored{}, usererr.Wrap(what, err, "")
	}
	return stored{versionOf(answer.Data["metadata"]), fields, written}, nil
}

func versionOf(metadata json.RawMessage) int {
	var m struct {
		Version int `json:"version"`
	}
	_ = json.Unmarshal(metadata, &m)
	return m.Version
}

// Put implements [store.Store]. It makes one call, except if the engine requires
// check-and-set, if versions were deleted by hand, or to find out why an entry was not
// created. It repeats a write whose answer was lost, although Vault may have carried it
// out; with CreateOnly it may then return [store.ErrExists] for an entry that it wrote
// itself.
func (s *Store) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	what := s.what("write", name)
	if err := value.Check(); err != nil {
		return usererr.Wrap(what, err, "")
	}
	first := 0 // the version of an entry that never existed
	if mode == store.Replace {
		first = anyVersion
	}
	if err := s.write(ctx, what, name, value, first); !errors.Is(err, errStale) {
		return err
	}
	for range maxTries {
		found, err := s.read(ctx, what, name)
		if err != nil {
			return err
		}
		if found.fields != nil && mode == store.CreateOnly {
			return &usererr.Error{Op: what, Err: store.ErrExists}
		}
		if err = s.write(ctx, what, name, value, found.version); !errors.Is(err, errStale) {
			return err
		}
	}
	return usererr.New(what, "other writers keep changing it", "try again in a moment")
}

// anyVersion makes write replace any version.
const anyVersion = -1

// errStale reports that another version was written meanwhile, or that the engine
// requires a version.
var errStale = errors.New("check-and-set failed")

func (s *Store) write(ctx context.Context, what string, name store.Name, value store.Secret, version int) error {
	path, err := s.path(ctx, what, "data", name)
	if err != nil {
		return err
	}
	body := map[string]any{"data": map[string]string{fieldOf(name): value.Reveal()}}
	if version != anyVersion {
		body["options"] = map[string]int{"cas": version}
	}
	_, err = s.client.Write(ctx, what, path, body)
	refusal, ok := errors.AsType[*vaultclient.Refusal](err)
	if ok && refusal.Status == http.StatusBadRequest && strings.Contains(refusal.Messages, "check-and-set") {
		return errStale
	}
	return s.describe(what, "create and update", path, err)
}

// Delete implements [store.Store]. It deletes all versions and their metadata.
func (s *Store) Delete(ctx context.Context, name store.Name) error {
	what := s.what("delete", name)
	path, err := s.path(ctx, what, "metadata", name)
	if err != nil {
		return err
	}
	_, err = s.client.Delete(ctx, what, path)
	return s.describe(what, "delete", path, err)
}

// List implements [store.Store]. It makes one request for each folder.
func (s *Store) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		list, next := folders{store: s}, []string{below.String()}
		for len(next) > 0 {
			folder := next[0]
			next = next[1:]
			keys, err := list.keys(ctx, folder)
			if err != nil {
				yield(store.Name{}, err)
				return
			}
			for _, key := range keys {
				path := strings.TrimPrefix(folder+"/"+key, "/")
				if inner, ok := strings.CutSuffix(path, "/"); ok {
					next = append(next, inner)
					continue
				}
				name, err := store.ParseName(path)
				if err == nil && !yield(name, nil) {
					return
				}
			}
		}
	}
}

// keys returns the names in a folder; names of folders end with a slash.
func (s *Store) keys(ctx context.Context, folder string) ([]string, error) {
	full := strings.TrimSuffix(s.prefix+"/"+folder, "/")
	what := "list " + full + " in " + s.client.Where()
	path, err := s.apiPath(ctx, what, "metadata", full)
	if err != nil {
		return nil, err
	}
	answer, err := s.client.List(ctx, what, path)
	refusal, ok := errors.AsType[*vaultclient.Refusal](err)
	if ok && refusal.Status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, s.describe(what, "list", path, err)
	}
	var keys []string
	if json.Unmarshal(answer.Data["keys"], &keys) != nil {
		return nil, usererr.New(what, "it is not an answer of a KV engine of version 2", "")
	}
	return keys, nil
}

func (s *Store) what(verb string, name store.Name) string {
	return verb + " " + s.prefix + "/" + name.String() + " in " + s.client.Where()
}

// path returns the engine's API path for name; kind is data or metadata.
func (s *Store) path(ctx context.Context, what, kind string, name store.Name) (string, error) {
	if name.IsZero() {
		return "", usererr.New(what, "it has no name", "")
	}
	return s.apiPath(ctx, what, kind, s.prefix+"/"+name.String())
}

func (s *Store) apiPath(ctx context.Context, what, kind, full string) (string, error) {
	engine, err := s.find(ctx, what)
	if err != nil {
		return "", err
	}
	below := strings.TrimSuffix(strings.TrimPrefix(full+"/", engine), "/")
	return strings.TrimSuffix(engine+kind+"/"+below, "/"), nil
}

// find asks once which engine the prefix is in. It refuses version 1, which would take
// a write to data/ as the name of a secret.
func (s *Store) find(ctx context.Context, what string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != "" {
		return s.engine, nil
	}
	answer, err := s.client.Read(ctx, what, "sys/internal/ui/mounts/"+s.prefix)
	if err != nil {
		mount, _, _ := strings.Cut(s.prefix, "/")
		if _, ok := errors.AsType[*vaultclient.Refusal](err); ok {
			return "", usererr.New(what, "permission denied, or there is no secrets engine at "+mount+"/",
				"check mount and namespace, or allow access below "+mount+"/data/ and "+mount+"/metadata/ in a policy of "+s.client.Identity())
		}
		return "", err
	}
	first, _, _ := strings.Cut(s.prefix, "/")
	m := decodeMount(answer.Data, first, s.prefix+"/")
	if m.version != versioned {
		return "", usererr.New(what, "the engine at "+m.path+" is not a KV engine of version 2", "enable one: vault secrets enable -version=2 -path=NAME kv")
	}
	s.engine = m.path
	return s.engine, nil
}

// describe turns a refusal into one line. It returns other errors unchanged, because
// they are lines already.
func (s *Store) describe(what, capability, path string, err error) error {
	r, ok := errors.AsType[*vaultclient.Refusal](err)
	switch {
	case !ok:
		return err
	case r.Status == http.StatusForbidden:
		return usererr.New(what, "permission denied"+r.Shown(), "allow "+capability+" on "+path+" in a policy of "+s.client.Identity())
	}
	return usererr.New(what, fmt.Sprintf("Vault refuses (%d)", r.Status)+r.Shown(), "check mount, prefix and addr of the store")
}
