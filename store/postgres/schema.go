package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatepass/gatepass/internal/usererr"
)

const migrateHint = "run gatepass store migrate with this store"

// steps migrate from each version of the schema to the next; the first step starts from
// no schema. A released step is never changed. Steps only add, because programs of the
// previous version still run while new ones start.
var steps = []string{`
CREATE TABLE gatepass_schema (
	is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
	version integer NOT NULL
);
INSERT INTO gatepass_schema (version) VALUES (0);

CREATE TABLE gatepass_entries (
	prefix   text COLLATE "C" NOT NULL,
	name     text COLLATE "C" NOT NULL CHECK (name ~ '^[0-9A-Za-z][0-9A-Za-z._-]{0,127}(/[0-9A-Za-z][0-9A-Za-z._-]{0,127})*$'),
	value    bytea NOT NULL,
	key      uuid,
	modified timestamptz NOT NULL,
	version  uuid NOT NULL,
	due      timestamptz,
	PRIMARY KEY (prefix, name)
);
CREATE INDEX gatepass_due ON gatepass_entries (prefix, due, name) WHERE due IS NOT NULL;
CREATE INDEX gatepass_records ON gatepass_entries (prefix, name) WHERE name LIKE 'sandbox/%/workspace';

CREATE TABLE gatepass_keys (
	prefix  text COLLATE "C" NOT NULL,
	id      uuid NOT NULL,
	wrapped bytea NOT NULL,
	made    timestamptz NOT NULL,
	PRIMARY KEY (prefix, id)
);`}

// migrating is the advisory lock of a migration.
const migrating = 0x6761746570617373 // "gatepass"

// checkSchema returns an error unless the schema has this program's version, and the
// server makes commits durable.
func checkSchema(ctx context.Context, what string, pool *pgxpool.Pool) error {
	var version int
	var commit string
	err := pool.QueryRow(ctx, "SELECT version, current_setting('synchronous_commit') FROM gatepass_schema").Scan(&version, &commit)
	switch {
	case hasCode(err, undefinedTable), errors.Is(err, pgx.ErrNoRows):
		return refuse(what, "the database has no schema of gatepass", migrateHint)
	case err != nil:
		return err
	case version < len(steps):
		return refuse(what, fmt.Sprintf("the schema has version %d, and this program needs %d", version, len(steps)), migrateHint)
	case version > len(steps):
		return newer(what, version)
	case commit == "off":
		return refuse(what, "synchronous_commit is off: a crash of the server would lose recent blocks", "set it to on for this user or database")
	}
	return nil
}

func newer(what string, version int) error {
	return refuse(what, fmt.Sprintf("the schema has version %d, and this program knows %d", version, len(steps)), "use a newer gatepass")
}

// Migrate creates the schema or migrates it to this program's version, completely or
// not at all. It returns the versions before and after; 0 means none. If several run at
// once, one migrates and the others wait.
func (s *Store) Migrate(ctx context.Context) (from, to int, err error) {
	what := "migrate " + s.where
	bare := func(ctx context.Context, _ string) (*pgxpool.Pool, error) { return s.connect(ctx) }
	from, err = runWith(ctx, s, what, bare, func(ctx context.Context, pool *pgxpool.Pool) (before int, err error) {
		defer pool.Close()
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			before, err = migrate(ctx, what, tx)
			return err
		})
		return before, err
	})
	return from, len(steps), err
}

// migrate returns the version that it found.
func migrate(ctx context.Context, what string, tx pgx.Tx) (before int, err error) {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock("+strconv.Itoa(migrating)+")"); err != nil {
		return 0, err
	}
	var found bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass('gatepass_schema') IS NOT NULL").Scan(&found); err != nil {
		return 0, err
	}
	if found {
		if err := tx.QueryRow(ctx, "SELECT version FROM gatepass_schema").Scan(&before); err != nil {
			return 0, err
		}
	}
	if before > len(steps) {
		return before, newer(what, before)
	}
	for n, step := range steps[before:] {
		if _, err := tx.Exec(ctx, step); err != nil {
			return before, err
		}
		if _, err := tx.Exec(ctx, "UPDATE gatepass_schema SET version = $1", before+n+1); err != nil {
			return before, err
		}
	}
	return before, nil
}

// Encrypt encrypts the values that are stored in clear, and returns how many. The
// store's URL must name a key.
func (s *Store) Encrypt(ctx context.Context) (int, error) {
	what := "encrypt the values of " + s.where
	if s.wrapper == nil {
		return 0, usererr.New(what, "the store's URL has no key=", "add key=URL to it")
	}
	for n := 0; ; {
		rows, err := s.rows(ctx, what, "SELECT "+columns+" FROM gatepass_entries WHERE prefix = $1 AND key IS NULL LIMIT 100", s.prefix)
		if err != nil || len(rows) == 0 {
			return n, err
		}
		for _, r := range rows {
			if err := s.encryptRow(ctx, what, r); err != nil {
				return n, err
			}
			n++
		}
	}
}

// encryptRow skips a row that was written in the meantime.
func (s *Store) encryptRow(ctx context.Context, what string, r *row) error {
	sealed, key, err := s.sealAt(ctx, r.name, r.value)
	if err != nil {
		return usererr.Wrap(what, err, "")
	}
	_, err = run(ctx, s, what, func(ctx context.Context, pool *pgxpool.Pool) (none struct{}, err error) {
		_, err = pool.Exec(ctx, "UPDATE gatepass_entries SET value = $1, key = $2 WHERE prefix = $3 AND name = $4 AND version = $5 AND key IS NULL",
			sealed, key, s.prefix, r.name, r.version)
		return none, err
	})
	return err
}
