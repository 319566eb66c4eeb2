//go:build unix

package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/envelope"
	"github.com/gatepass/gatepass/test/storetest"
)

// A vault wraps keys as a KMS does, and counts.
type vault struct {
	envelope.DataKey
	wraps, unwraps atomic.Int64
	isDown         atomic.Bool
}

var errDown = errors.New("the KMS is down")

func newVault(t *testing.T) *vault {
	t.Helper()
	key, _, err := envelope.NewDataKey(t.Context(), clear{})
	if err != nil {
		t.Fatal(err)
	}
	return &vault{DataKey: key}
}

func (v *vault) Wrap(_ context.Context, key []byte) ([]byte, error) {
	v.wraps.Add(1)
	if v.isDown.Load() {
		return nil, errDown
	}
	return v.Seal("key", key)
}

func (v *vault) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	v.unwraps.Add(1)
	if v.isDown.Load() {
		return nil, errDown
	}
	return v.Open("key", wrapped)
}

// clear wraps nothing.
type clear struct{}

func (clear) Wrap(_ context.Context, key []byte) ([]byte, error)   { return slices.Clone(key), nil }
func (clear) Unwrap(_ context.Context, key []byte) ([]byte, error) { return key, nil }

// sealing is one process's store whose values are encrypted.
func sealing(t *testing.T, address string, v *vault) *Store {
	t.Helper()
	s := openStore(t, address)
	s.wrapper = v
	return s
}

func TestRealSealedStoreConforms(t *testing.T) {
	v, opened := newVault(t), prefixes(migrated(t), "")
	storetest.Run(t, func(t *testing.T) func() store.Store {
		again := opened(t)
		return func() store.Store {
			s := again().(*Store)
			s.wrapper = v
			return s
		}
	})
}

// A process asks the KMS once, whatever it reads and writes.
func TestRealKMSIsAskedOnce(t *testing.T) {
	server, v := migrated(t), newVault(t)
	const secret = "ghs_sealed0123456789abcdefghijklmnopqrs"
	for process := range int64(3) {
		s := sealing(t, server.URL(""), v)
		for range 5 {
			put(t, s, store.PrivateKey(), secret)
			put(t, s, store.Signer(), secret)
			if e, err := s.Get(t.Context(), store.PrivateKey()); err != nil || e.Value.Reveal() != secret {
				t.Fatalf("Get = %v, want the value", err)
			}
		}
		if wraps, unwraps := v.wraps.Load(), v.unwraps.Load(); wraps != 1 || unwraps != process {
			t.Errorf("after %d processes the KMS wrapped %d and unwrapped %d keys, want 1 and %d", process+1, wraps, unwraps, process)
		}
	}
	if n := server.Query("SELECT count(*) FROM gatepass_entries WHERE position('ghs_' IN encode(value, 'escape')) > 0"); n != "0" {
		t.Errorf("%s values are in clear", n)
	}
	server.Exec("gatepass", "UPDATE gatepass_keys SET made = made - interval '8 days'")
	s := sealing(t, server.URL(""), v)
	put(t, s, store.Signer(), "by a new data key")
	if e, err := s.Get(t.Context(), store.PrivateKey()); err != nil || e.Value.Reveal() != secret || v.wraps.Load() != 2 {
		t.Errorf("Get of a value of the last data key = %v after %d wraps, want it, and 2", err, v.wraps.Load())
	}
	v.isDown.Store(true)
	_, err := sealing(t, server.URL(""), v).Get(t.Context(), store.Signer())
	if checkError(t, err, "the KMS is down"); errors.Is(err, store.ErrDamaged) {
		t.Error("a KMS that is down is taken for a damaged entry")
	}
}

// A program that can write to the database can neither move a value nor put one in clear in its
// place.
func TestRealSealedRowsStayWhereTheyAre(t *testing.T) {
	server, v := migrated(t), newVault(t)
	s := sealing(t, server.URL("prefix=a"), v)
	mine, theirs := store.PrivateKey(), store.Signer()
	get := func() error {
		_, err := s.Get(t.Context(), theirs)
		return err
	}
	for name, statement := range map[string]string{
		"a value of another name":   "UPDATE gatepass_entries SET value = (SELECT value FROM gatepass_entries WHERE prefix = 'a' AND name = 'config/github/private-key') WHERE prefix = 'a' AND name = 'config/github/signer'",
		"a value of another prefix": "UPDATE gatepass_entries SET value = o.value, key = o.key FROM gatepass_entries o WHERE gatepass_entries.prefix = 'a' AND o.prefix = 'b' AND gatepass_entries.name = o.name",
		"a value that was changed":  "UPDATE gatepass_entries SET value = set_byte(value, 20, 255 - get_byte(value, 20)) WHERE prefix = 'a' AND name = 'config/github/signer'",
		"another data key":          "UPDATE gatepass_entries SET key = gen_random_uuid() WHERE prefix = 'a' AND name = 'config/github/signer'",
	} {
		put(t, s, mine, "mine")
		put(t, s, theirs, "theirs")
		put(t, sealing(t, server.URL("prefix=b"), v), theirs, "of another prefix")
		server.Exec("gatepass", statement)
		if err := get(); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: Get = %v, want ErrDamaged", name, err)
		}
	}
	put(t, openStore(t, server.URL("prefix=a")), theirs, "in clear")
	if checkError(t, get(), "not encrypted", "gatepass store migrate --encrypt"); errors.Is(get(), store.ErrDamaged) {
		t.Error("a value in clear is taken for a damaged one, which is replaced")
	}
	_, err := openStore(t, server.URL("prefix=a")).Get(t.Context(), mine)
	checkError(t, err, "the value is encrypted", "add key=URL")
}

// Encrypt is for a store that began without a key. What else was known of the entries
// stays.
func TestRealEncrypt(t *testing.T) {
	server, v := migrated(t), newVault(t)
	plain := openStore(t, server.URL(""))
	const n = 230
	for i := range n {
		name, _ := store.Record("w" + strings.Repeat("x", i%100+1) + string(rune('a'+i/100)))
		if err := plain.PutDue(t.Context(), name, store.NewSecret("of "+name.String()), store.Replace, noon); err != nil {
			t.Fatal(err)
		}
	}
	_, err := plain.Encrypt(t.Context())
	checkError(t, err, "the store's URL has no key=")
	s := sealing(t, server.URL(""), v)
	if done, err := s.Encrypt(t.Context()); done != n || err != nil {
		t.Errorf("Encrypt = %d, %v, want %d", done, err, n)
	}
	if done, err := s.Encrypt(t.Context()); done != 0 || err != nil {
		t.Errorf("Encrypt again = %d, %v, want none", done, err)
	}
	found := 0
	for e, err := range s.Due(t.Context(), store.Everything(), noon.AddDate(0, 0, 1), 0) {
		if err != nil || e.Value.Reveal() != "of "+e.Name.String() {
			t.Fatalf("Due yields %s, %v, want its value", e.Name, err)
		}
		found++
	}
	if found != n || v.wraps.Load() != 1 {
		t.Errorf("%d entries after %d wraps, want %d and 1", found, v.wraps.Load(), n)
	}
}
