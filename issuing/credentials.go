package issuing

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// Credentials are what a store has of an App. Exactly one of PrivateKey and Signer is
// set.
type Credentials struct {
	ID         string       // client ID or App ID
	PrivateKey store.Secret // PEM
	Signer     string       // the URL of a key in a KMS
	GitHub     string       // "" means https://github.com
}

// api returns the URL of the GitHub's REST API; "" if GitHub is not a valid URL.
func (c Credentials) api() string {
	api, _ := mint.APIURL(cmp.Or(c.GitHub, mint.DefaultGitHub))
	return api
}

// restoreWait is the time for undoing changes after the caller has given up.
const restoreWait = 10 * time.Second

// StoredNames returns the names of the App's entries in a store.
func StoredNames(ctx context.Context, s store.Store) ([]store.Name, error) {
	var kept []store.Name
	for _, name := range []store.Name{store.AppClientID(), store.PrivateKey(), store.Signer(), store.GitHubURL()} {
		switch _, err := s.Get(ctx, name); {
		case err == nil:
			kept = append(kept, name)
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	return kept, nil
}

// CheckFree returns an error if an App is set up. It wraps [store.ErrExists] and names
// the entries.
func CheckFree(ctx context.Context, s store.Store) error {
	kept, err := StoredNames(ctx, s)
	if err != nil || len(kept) == 0 {
		return err
	}
	names := make([]string, len(kept))
	for i, name := range kept {
		names[i] = name.String()
	}
	return &usererr.Error{
		Op: "save the App", Reason: "the store has " + strings.Join(names, ", ") + " already",
		Hint: "add --force to replace the App, or list it: gatepass app status", Err: store.ErrExists,
	}
}

// Save writes the credentials to the store. With [store.CreateOnly] it fails like
// [CheckFree] if an App is set up, and changes nothing. If a write fails, it restores
// the earlier entries.
func Save(ctx context.Context, s store.Store, c Credentials, mode store.Mode) error {
	if (c.PrivateKey.Reveal() == "") == (c.Signer == "") || c.ID == "" {
		return errors.New("save the App: it needs an ID and either a private key or a signer")
	}
	if mode == store.CreateOnly {
		if err := CheckFree(ctx, s); err != nil {
			return err
		}
	}
	t := transaction{store: s, mode: mode}
	for _, e := range c.entries() {
		if err := t.set(ctx, e.name, e.value); err != nil {
			return usererr.Join(err, t.undo(ctx))
		}
	}
	return nil
}

type entry struct {
	name  store.Name
	value store.Secret // the zero Secret deletes the entry
}

// entries returns the entries in the order of writing: the ID comes after the key,
// because an App without an ID does not count as set up. Deletions come last, so that a
// killed run leaves no App without a key.
func (c Credentials) entries() []entry {
	var signer, github store.Secret
	if c.Signer != "" {
		signer = store.NewSecret(c.Signer)
	}
	if c.GitHub != "" && c.GitHub != mint.DefaultGitHub {
		github = store.NewSecret(c.GitHub)
	}
	all := []entry{
		{store.PrivateKey(), c.PrivateKey},
		{store.Signer(), signer},
		{store.GitHubURL(), github},
		{store.AppClientID(), store.NewSecret(c.ID)},
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.isDeletion(), b.isDeletion()) })
	return all
}

// isDeletion returns 1 for an entry to delete, else 0.
func (e entry) isDeletion() int {
	if e.value.Reveal() == "" {
		return 1
	}
	return 0
}

// A transaction remembers the entries that it changed.
type transaction struct {
	store store.Store
	mode  store.Mode
	done  []entry // the earlier entries, in the order of change
}

func (t *transaction) set(ctx context.Context, name store.Name, value store.Secret) error {
	before, err := t.store.Get(ctx, name)
	absent := errors.Is(err, store.ErrNotFound)
	if err != nil && !absent {
		return err
	}
	if value.Reveal() == "" && absent || value.Reveal() == before.Value.Reveal() {
		return nil
	}
	t.done = append(t.done, entry{name, before.Value})
	if value.Reveal() == "" {
		return t.store.Delete(ctx, name)
	}
	return t.store.Put(ctx, name, value, t.mode)
}

// undo restores the entries, the last change first.
func (t *transaction) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWait)
	defer cancel()
	var failed []error
	for i := len(t.done) - 1; i >= 0; i-- {
		e := t.done[i]
		var err error
		if e.value.Reveal() == "" {
			err = t.store.Delete(ctx, e.name)
		} else {
			err = t.store.Put(ctx, e.name, e.value, store.Replace)
		}
		if err != nil {
			failed = append(failed, usererr.Wrap("put back "+e.name.String(), err, ""))
		}
	}
	return usererr.Join(failed...)
}
