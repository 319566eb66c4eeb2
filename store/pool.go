package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// The names of the Apps other than the first.
const (
	appsFolder = configFolder + "/apps"
	maxAppName = 32 // bytes
)

// FirstApp is what people, metrics and reports call the App that has no name in the store.
const FirstApp = "first"

// Pool names the entry with the names of the other Apps, on one line. It is one entry
// instead of a folder, so that a store without other Apps costs one read.
func Pool() Name { return Name{configFolder + "/pool"} }

// CheckApp returns an error unless name is valid for an App of a pool: up to 32
// lower-case letters, digits and hyphens that begin with a letter or digit, and not
// [FirstApp].
func CheckApp(name string) error {
	isOdd := func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }
	if name == "" || len(name) > maxAppName || name[0] == '-' || strings.ContainsFunc(name, isOdd) {
		return fmt.Errorf("%.40q is not a name for an App: it must have up to %d lower-case letters, digits and hyphens, and begin with a letter or digit", name, maxAppName)
	}
	if name == FirstApp {
		return fmt.Errorf("%q is reserved for the App without a name; choose another name", name)
	}
	return nil
}

// PoolApps returns the names of the Apps other than the first, sorted; none if there is
// only one App.
func PoolApps(ctx context.Context, s Store) ([]string, error) {
	entry, err := s.Get(ctx, Pool())
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := strings.Fields(entry.Value.Reveal())
	for _, name := range names {
		if err := CheckApp(name); err != nil {
			return nil, fmt.Errorf("read %s: %w", Pool(), err)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// SetPoolApps stores the names of the Apps other than the first.
func SetPoolApps(ctx context.Context, s Store, names []string) error {
	for _, name := range names {
		if err := CheckApp(name); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return s.Delete(ctx, Pool())
	}
	return s.Put(ctx, Pool(), NewSecret(strings.Join(names, " ")), Replace)
}

// OfApp returns s as one App of a pool uses it. The names of the App's own entries
// ([AppClientID], [PrivateKey], [Signer], [GitHubURL], [LegacyInstallation],
// [Installation], [Installations]) lead to config/github/apps/NAME; all other names are
// the same as in s. The empty name means the first App, and returns s itself.
func OfApp(s Store, name string) (Store, error) {
	if name == "" {
		return s, nil
	}
	if err := CheckApp(name); err != nil {
		return nil, err
	}
	return ofApp{s, appsFolder + "/" + name}, nil
}

// ofApp is a Store for the entries of one App.
type ofApp struct {
	Store
	folder string // "config/github/apps/NAME"
}

// isOfApp reports whether a path is an entry that each App has for itself.
func isOfApp(path string) bool {
	own := []Name{AppClientID(), PrivateKey(), Signer(), GitHubURL(), LegacyInstallation()}
	return slices.Contains(own, Name{path}) || path == installationsFolder || strings.HasPrefix(path, installationsFolder+"/")
}

func (a ofApp) to(path string) string {
	if !isOfApp(path) {
		return path
	}
	return a.folder + strings.TrimPrefix(path, configFolder)
}

func (a ofApp) from(path string) string {
	if rest, ok := strings.CutPrefix(path, a.folder+"/"); ok {
		return configFolder + "/" + rest
	}
	return path
}

// Get implements [Store].
func (a ofApp) Get(ctx context.Context, name Name) (Entry, error) {
	return a.Store.Get(ctx, Name{a.to(name.path)})
}

// Put implements [Store].
func (a ofApp) Put(ctx context.Context, name Name, value Secret, mode Mode) error {
	return a.Store.Put(ctx, Name{a.to(name.path)}, value, mode)
}

// Delete implements [Store].
func (a ofApp) Delete(ctx context.Context, name Name) error {
	return a.Store.Delete(ctx, Name{a.to(name.path)})
}

// List implements [Store]. It yields names in the form that the caller uses.
func (a ofApp) List(ctx context.Context, below Prefix) iter.Seq2[Name, error] {
	return func(yield func(Name, error) bool) {
		for name, err := range a.Store.List(ctx, Prefix{a.to(below.path)}) {
			if !yield(Name{a.from(name.path)}, err) {
				return
			}
		}
	}
}
