// Package postgres keeps what the issuing side has in a table of a PostgreSQL database:
//
//	postgres://[USER@]HOST[:PORT]/DATABASE?sslmode=verify-full[&prefix=…][&key=…]
//
// The table is made and upgraded by "gatepass store migrate" only. Every entry is a row.
// Names are compared byte by byte (collation C). A write's version is a random number of
// its own, which also tells a write whose answer was lost from those of others: it is
// repeated, and done once.
//
// Where key= names a KMS key, values are encrypted before they leave the process. Without
// it they are stored as they are.
//
// Only servers that take writes are asked: a standby may be behind, and what operators
// blocked there would not be.
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

// A Store keeps every entry as a row. It has all of the optional interfaces of package
// store.
type Store struct {
	where  string // the URL without user and query, for messages
	dsn    string // the URL without our own keys
	prefix string

	wrapper envelope.Wrapper // nil where values are stored as they are
	keys    keyring

	pool httpclient.Lazy[pgxpool.Pool]
}

// A row is an entry as it is kept.
type row struct {
	name     string
	value    []byte
	key      *[16]byte // the data key; nil where the value is not encrypted
	modified time.Time
	version  [16]byte
	due      time.Time // where it was asked for
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
	found, err := ask(ctx, s, what, func(ctx context.Context, pool *pgxpool.Pool) (*row, error) {
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

// entry reads a row.
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

// Statements that write an entry. They return a row where they have written. What they
// find with the new version already, they have written themselves.
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

// write has a statement write the entry, and returns its version. seen is what swapEntry
// compares. The error wraps unless where the statement wrote nothing.
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
	// A deletion whose answer was lost may not have reached the standby yet. This statement
	// writes a record behind it, and so is answered once the standby has both.
	_, err = ask(ctx, s, what, func(ctx context.Context, pool *pgxpool.Pool) (none struct{}, err error) {
		_, err = pool.Exec(ctx, "SELECT pg_logical_emit_message(true, 'gatepass', '')")
		return none, err
	})
	return err
}

// change runs a statement, tells watchers of what it wrote in the same transaction, and
// reports whether it wrote.
func (s *Store) change(ctx context.Context, what string, name store.Name, statement string, arguments []any) (wrote bool, err error) {
	statement, arguments = s.telling(name, statement, arguments)
	_, err = ask(ctx, s, what, func(ctx context.Context, pool *pgxpool.Pool) (none struct{}, err error) {
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
