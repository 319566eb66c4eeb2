package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/envelope"
)

// keyLife is how long a data key encrypts. Even with thousands of writes a second, it
// stays far below 2^32 values, the limit of one key.
const keyLife = 7 * 24 * time.Hour

// A keyring caches the data keys used so far. All processes of a store share the data
// keys, so each process asks the KMS once per key.
type keyring struct {
	mu      sync.Mutex // guards the rest; held while a key is fetched
	byID    map[[16]byte]envelope.DataKey
	current [16]byte
	until   time.Time // when current stops encrypting, by this machine's clock
}

// seal returns a value in its stored form, and the data key's ID; nil if the value is
// stored in clear.
func (s *Store) seal(ctx context.Context, name store.Name, value []byte) ([]byte, *[16]byte, error) {
	return s.sealAt(ctx, name.String(), value)
}

func (s *Store) sealAt(ctx context.Context, name string, value []byte) ([]byte, *[16]byte, error) {
	if s.wrapper == nil {
		return value, nil, nil
	}
	id, key, err := s.currentKey(ctx)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := key.Seal(s.place(name), value)
	return sealed, &id, err
}

// place returns what a value is bound to.
func (s *Store) place(name string) string { return s.prefix + "\x00" + name }

// unseal returns the value of a row. The error wraps [store.ErrDamaged] if the value
// was encrypted for another row, or is corrupted.
func (s *Store) unseal(ctx context.Context, r *row) ([]byte, error) {
	switch {
	case s.wrapper == nil && r.key == nil:
		return r.value, nil
	case s.wrapper == nil:
		return nil, usererr.New("decrypt", "the value is encrypted, but the store's URL has no key=", "add key=URL to it")
	case r.key == nil:
		return nil, usererr.New("decrypt", "the value is not encrypted, but the store's URL has key=", "run gatepass store migrate --encrypt once, unless another program wrote the row")
	}
	key, err := s.keyOf(ctx, *r.key)
	if err != nil {
		return nil, err
	}
	value, err := key.Open(s.place(r.name), r.value)
	if errors.Is(err, envelope.ErrNotSealed) {
		return nil, &usererr.Error{Op: "decrypt", Reason: err.Error(), Err: store.ErrDamaged}
	}
	return value, err
}

// keyOf returns the data key with an ID.
func (s *Store) keyOf(ctx context.Context, id [16]byte) (envelope.DataKey, error) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if key, ok := s.keys.byID[id]; ok {
		return key, nil
	}
	wrapped, err := run(ctx, s, "read a data key of "+s.where, func(ctx context.Context, pool *pgxpool.Pool) (wrapped []byte, err error) {
		return wrapped, pool.QueryRow(ctx, "SELECT wrapped FROM gatepass_keys WHERE prefix = $1 AND id = $2", s.prefix, id).Scan(&wrapped)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return envelope.DataKey{}, &usererr.Error{Op: "decrypt", Reason: "the data key of the value is gone", Err: store.ErrDamaged}
	}
	if err != nil {
		return envelope.DataKey{}, err
	}
	return s.unwrap(ctx, id, wrapped)
}

// unwrap asks the KMS. The caller must hold the lock.
func (s *Store) unwrap(ctx context.Context, id [16]byte, wrapped []byte) (envelope.DataKey, error) {
	key, err := envelope.UnwrapDataKey(ctx, s.wrapper, wrapped)
	if err == nil {
		s.remember(id, key)
	}
	return key, err
}

func (s *Store) remember(id [16]byte, key envelope.DataKey) {
	if s.keys.byID == nil {
		s.keys.byID = map[[16]byte]envelope.DataKey{}
	}
	s.keys.byID[id] = key
}

// currentKey returns the data key that encrypts now: the newest in the store, or a new
// one.
func (s *Store) currentKey(ctx context.Context) ([16]byte, envelope.DataKey, error) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if time.Now().Before(s.keys.until) {
		return s.keys.current, s.keys.byID[s.keys.current], nil
	}
	newest, err := s.newestKey(ctx)
	if err != nil {
		return [16]byte{}, envelope.DataKey{}, err
	}
	key, known := s.keys.byID[newest.id]
	switch {
	case newest.left <= 0:
		newest.id, key, err = s.makeKey(ctx)
		newest.left = keyLife
	case !known:
		key, err = s.unwrap(ctx, newest.id, newest.wrapped)
	}
	if err != nil {
		return [16]byte{}, envelope.DataKey{}, err
	}
	s.keys.current, s.keys.until = newest.id, time.Now().Add(newest.left)
	return newest.id, key, nil
}

// A storedKey is a data key in the database.
type storedKey struct {
	id      [16]byte
	wrapped []byte
	left    time.Duration // how long it still encrypts; 0 without a key
}

func (s *Store) newestKey(ctx context.Context) (storedKey, error) {
	k, err := run(ctx, s, "read the data key of "+s.where, func(ctx context.Context, pool *pgxpool.Pool) (k storedKey, err error) {
		var seconds float64
		err = pool.QueryRow(ctx, "SELECT id, wrapped, extract(epoch FROM clock_timestamp() - made)::float8 FROM gatepass_keys WHERE prefix = $1 ORDER BY made DESC LIMIT 1", s.prefix).Scan(&k.id, &k.wrapped, &seconds)
		k.left = keyLife - time.Duration(seconds*float64(time.Second))
		return k, err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return storedKey{}, nil
	}
	return k, err
}

// makeKey makes a data key and stores it. If two processes do so at the same time, each
// uses its own key. The caller must hold the lock.
func (s *Store) makeKey(ctx context.Context) (id [16]byte, key envelope.DataKey, err error) {
	_, _ = rand.Read(id[:]) // it never fails
	key, wrapped, err := envelope.NewDataKey(ctx, s.wrapper)
	if err != nil {
		return id, key, err
	}
	_, err = run(ctx, s, "write a data key of "+s.where, func(ctx context.Context, pool *pgxpool.Pool) (none struct{}, err error) {
		_, err = pool.Exec(ctx, "INSERT INTO gatepass_keys (prefix, id, wrapped, made) VALUES ($1, $2, $3, clock_timestamp()) ON CONFLICT DO NOTHING", s.prefix, id, wrapped)
		return none, err
	})
	if err == nil {
		s.remember(id, key)
	}
	return id, key, err
}
