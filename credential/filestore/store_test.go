//go:build unix

package filestore

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := OpenStore(&url.URL{Scheme: "file", Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Store {
		dir := filepath.Join(t.TempDir(), "state", "gatepass")
		return func() store.Store { return openStore(t, dir) }
	})
}

func TestOpenStoreRefuses(t *testing.T) {
	for _, bad := range []string{"file://host/dir", "file:///", "file:///x/..", "file:dir", "file:///dir?x=1", "ssm:///dir", "file://u:p@/dir"} {
		u, err := url.Parse(bad)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := OpenStore(u); err == nil {
			t.Errorf("OpenStore(%s) = %v, want an error", bad, s)
		}
	}
}

// Other users of the machine see neither names nor values.
func TestStoreIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if err := openStore(t, dir).Put(t.Context(), store.PrivateKey(), store.NewSecret("key"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		info, infoErr := d.Info()
		if want := map[bool]os.FileMode{true: folderMode, false: fileMode}[d.IsDir()]; infoErr == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %04o, want %04o", p, info.Mode().Perm(), want)
		}
		return errors.Join(err, infoErr)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStoreRefusesWhatOthersCanUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	if err := s.Put(t.Context(), store.PrivateKey(), store.NewSecret("key"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, store.PrivateKey().String())
	chmod := func(name string, mode os.FileMode) {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(file, 0o640)
	if _, err := s.Get(t.Context(), store.PrivateKey()); err == nil || !strings.Contains(err.Error(), "other users can use it") {
		t.Errorf("Get of a file for the group = %v, want a refusal", err)
	}
	chmod(file, 0o600)
	chmod(dir, 0o755)
	if _, err := s.Get(t.Context(), store.PrivateKey()); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("Get in a folder for all = %v, want a refusal", err)
	}
	if err := s.Put(t.Context(), store.Signer(), store.NewSecret("x"), store.Replace); err == nil {
		t.Error("Put in a folder for all is done, want a refusal")
	}
}

func TestStoreFollowsNoLinks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	if err := s.Put(t.Context(), store.PrivateKey(), store.NewSecret("key"), store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("private-key", filepath.Join(dir, store.Signer().String())); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Get(t.Context(), store.Signer()); err == nil {
		t.Errorf("Get of a link = %v, want an error", e)
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "sandbox")); err != nil {
		t.Fatal(err)
	}
	name, _ := store.OnlyToken("sb-1")
	if err := s.Put(t.Context(), name, store.NewSecret("token"), store.Replace); err == nil {
		t.Error("Put through a link out of the folder is done, want an error")
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("%s holds %v, want nothing", outside, left)
	}
}

// A Put that was killed leaves a file that may hold a token.
func TestStoreTidiesUpAfterInterruptedWrites(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openStore(t, dir)
	if err := s.Put(t.Context(), store.Signer(), store.NewSecret("x"), store.Replace); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, scratchFolder, "LEFT")
	if err := os.WriteFile(left, []byte("ghs_half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), store.Signer()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("Stat(%s) = %v, want that it is gone", left, err)
	}
}

func TestALockThatCannotBeMadeHasNoOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.MkdirAll(filepath.Join(dir, lockFile), folderMode); err != nil {
		t.Fatal(err)
	}
	err := openStore(t, dir).Put(t.Context(), store.PrivateKey(), store.NewSecret("key"), store.CreateOnly)
	if err == nil || strings.Contains(err.Error(), "another") {
		t.Errorf("Put = %v, want what is wrong with the lock, and no other process named", err)
	}
}

// A foreign file under the name of an entry gets another error than an entry that
// cannot be reached.
func TestStoreIsDamaged(t *testing.T) {
	for what, write := range map[string]func(path string) error{
		"an empty file":        func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"one that was touched": func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"no text":              func(path string) error { return os.WriteFile(path, []byte{0xff, 0}, 0o600) },
		"a long one":           func(path string) error { return os.WriteFile(path, make([]byte, 1<<20), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			storetest.Damaged(t, openStore(t, dir), func(name store.Name) {
				path := filepath.Join(dir, name.String())
				err := os.MkdirAll(filepath.Dir(path), 0o700)
				if err == nil {
					_ = os.Remove(path)
					err = write(path)
				}
				if err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
