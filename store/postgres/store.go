// Package postgres stores the entries of the issuing side in a table of a PostgreSQL
// database:
//
//	postgres://[USER@]HOST[:PORT]/DATABASE?sslmode=verify-full[&prefix=…][&key=…]
//
// Only "gatepass store migrate" creates and upgrades the table. Every entry is a row.
// Names are compared byte by byte (collation C). Each write has a random version. If an
// answer is lost, the write is repeated, and the version shows whether the first
// attempt took effect.
//
// If key= names a KMS key, values are encrypted before they leave the process.
// Otherwise they are stored in clear.
//
// Only servers that accept writes are used: a standby may lag behind and miss the
// latest blocks.
package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/envelope"
)

// A Store stores every entry as a row. It implements all optional interfaces of package
// store.
type Store struct {
	where  string // the URL without user and query, for messages
	dsn    string // the URL without our own keys
	prefix string

	wrapper envelope.Wrapper // nil if values are stored in clear
	keys    keyring

	pool httpclient.Lazy[pgxpool.Pool]
}

// A row is an entry as it is stored.
type row struct {
	name     string
	value    []byte
	key      *[16]byte // ID of the data key; nil if the value is not encrypted
	modified time.Time
	version  [16]byte
	due      time.Time // only if the statement selects it
}

const columns = "name, value, key, modified, version"

func (r *row) scan(from pgx.Row) error {
	return from.Scan(&r.name, &r.value, &r.key, &r.modified, &r.version)
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	what, err := s.what("read", name)
	if err != nil {
		return store.Entry{}, err
	}
	found, err := run(ctx, s, what, func(ctx context.Context, pool *pgxpool.Pool) (*row, error) {
		var r row
		err := r.scan(pool.QueryRow(ctx, "SELECT "+columns+" FROM gatepass_entries WHERE prefix = $1 AND name = $2", s.prefix, name.String()))
		return &r, err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return store.Entry{}, &usererr.Error{Op: what, Err: store.ErrNotFound}
	}
	if err != nil {
		return store.Entry{}, err
	}
	return s.entry(ctx, what, found)
}

// entry decodes a row.
func (s *Store) entry(ctx context.Context, what string, r *row) (store.Entry, error) {
	text, err := s.unseal(ctx, r)
	if err != nil {
		return store.Entry{}, usererr.Wrap(what, err, "")
	}
	value := store.NewSecret(string(text))
	if err := value.Check(); err != nil {
		return store.Entry{}, &usererr.Error{Op: what, Reason: err.Error(), Err: store.ErrDamaged}
	}
	return store.Entry{Value: value, Modified: r.modified, Version: hex.EncodeToString(r.version[:])}, nil
}

// Put implements [store.Store].
func (s *Store) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	return s.PutDue(ctx, name, value, mode, time.Time{})
}

// PutDue implements [store.Indexed].
func (s *Store) PutDue(ctx context.Context, name store.Name, value store.Secret, mode store.Mode, due time.Time) error {
	statement := replaceEntry
	if mode == store.CreateOnly {
		statement = createEntry
	}
	_, err := s.write(ctx, name, value, due, store.ErrExists, statement, nil)
	return err
}

// Swap implements [store.Swapper].
func (s *Store) Swap(ctx context.Context, name store.Name, value store.Secret, version string, due time.Time) (string, error) {
	if version == "" {
		return s.write(ctx, name, value, due, store.ErrChanged, createEntry, nil)
	}
	seen, err := hex.DecodeString(version)
	if err != nil || len(seen) != 16 {
		seen = make([]byte, 16) // no write's
	}
	return s.write(ctx, name, value, due, store.ErrChanged, swapEntry, seen)
}

// Statements that write an entry. They return a row if they have written. A row that
// already has the new version was written by an earlier attempt of the same write.
const (
	insertEntry = `INSERT INTO gatepass_entries AS e (prefix, name, value, key, modified, version, due)
VALUES ($1, $2, $3, $4, clock_timestamp(), $5, $6)
ON CONFLICT (prefix, name) DO UPDATE SET value = excluded.value, key = excluded.key,
modified = excluded.modified, version = excluded.version, due = excluded.due`
	replaceEntry = insertEntry + " RETURNING 1"
	createEntry  = insertEntry + " WHERE e.version = excluded.version RETURNING 1"
	swapEntry    = `UPDATE gatepass_entries SET value = $3, key = $4, modified = clock_timestamp(), version = $5, due = $6
WHERE prefix = $1 AND name = $2 AND version IN ($5, $7) RETURNING 1`
	deleteEntry = "DELETE FROM gatepass_entries WHERE prefix = $1 AND name = $2 RETURNING 1"
)

// write runs a statement that writes the entry, and returns the entry's new version.
// swapEntry compares seen. The error wraps unless if the statement wrote nothing.
func (s *Store) write(ctx context.Context, name store.Name, value store.Secret, due time.Time, unless error, statement string, seen []byte) (string, error) {
	what, err := s.what("write", name)
	if err != nil {
		return "", err
	}
	if err := value.Check(); err != nil {
		return "", usererr.Wrap(what, err, "")
	}
	sealed, key, err := s.seal(ctx, name, []byte(value.Reveal()))
	if err != nil {
		return "", usererr.Wrap(what, err, "")
	}
	var version [16]byte
	_, _ = rand.Read(version[:]) // it never fails
	var when *time.Time
	if !due.IsZero() {
		when = &due
	}
	arguments := []any{s.prefix, name.String(), sealed, key, version, when}
	if seen != nil {
		arguments = append(arguments, [16]byte(seen))
	}
	wrote, err := s.change(ctx, what, name, statement, arguments)
	if err == nil && !wrote {
		err = &usererr.Error{Op: what, Err: unless}
	}
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(version[:]), nil
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, name store.Name) error {
	what, err := s.what("delete", name)
	if err != nil {
		return err
	}
	deleted, err := s.change(ctx, what, name, deleteEntry, []any{s.prefix, name.String()})
	if err != nil || deleted {
		return err
	}
	// If the answer of a deletion was lost, the deletion may not have reached the
	// standby yet. This statement writes a log record after it, so its answer comes
	// once the standby has both.
	_, err = run(ctx, s, what, func(ctx context.Context, pool *pgxpool.Pool) (none struct{}, err error) {
		_, err = pool.Exec(ctx, "SELECT pg_logical_emit_message(true, 'gatepass', '')")
		return none, err
	})
	return err
}

// change runs a statement, notifies watchers in the same transaction, and reports
// whether the statement wrote.
func (s *Store) change(ctx context.Context, what string, name store.Name, statement string, arguments []any) (wrote bool, err error) {
	statement, arguments = s.notifying(name, statement, arguments)
	_, err = run(ctx, s, what, func(ctx context.Context, pool *pgxpool.Pool) (none struct{}, err error) {
		var one int
		return none, pool.QueryRow(ctx, statement, arguments...).Scan(&one)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) what(verb string, name store.Name) (string, error) {
	what := verb + " " + name.String() + " of " + s.where
	if name.IsZero() {
		return "", usererr.New(what, "it has no name", "")
	}
	return what, nil
}
