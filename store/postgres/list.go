package postgres

import (
	"context"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatepass/gatepass/store"
)

const (
	// pageNames is how many names one statement reads, and pageValues how many entries:
	// 4 MB of the longest.
	pageNames  = 5000
	pageValues = 500
)

// bounds returns two texts; exactly the names below a prefix sort between them. In byte
// order 0 follows the slash, and ~ follows every character of a name.
func bounds(below store.Prefix) (after, before string) {
	if below == store.Everything() {
		return "", "~"
	}
	return below.String() + "/", below.String() + "0"
}

// Page implements [store.Pager].
func (s *Store) Page(ctx context.Context, below store.Prefix, after store.Name, limit int) ([]store.Name, error) {
	first, last := bounds(below)
	return s.page(ctx, below, max(first, after.String()), last, limit)
}

func (s *Store) page(ctx context.Context, below store.Prefix, after, before string, limit int) ([]store.Name, error) {
	return run(ctx, s, s.listing(below), func(ctx context.Context, pool *pgxpool.Pool) ([]store.Name, error) {
		rows, err := pool.Query(ctx, "SELECT name FROM gatepass_entries WHERE prefix = $1 AND name > $2 AND name < $3 ORDER BY name LIMIT $4", s.prefix, after, before, limit)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Name, error) {
			var text string
			if err := row.Scan(&text); err != nil {
				return store.Name{}, err
			}
			return store.ParseName(text)
		})
	})
}

func (s *Store) listing(below store.Prefix) string {
	if below == store.Everything() {
		return "list everything of " + s.where
	}
	return "list " + below.String() + " of " + s.where
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		after, before := bounds(below)
		for {
			names, err := s.page(ctx, below, after, before, pageNames)
			if err != nil {
				yield(store.Name{}, err)
				return
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
				after = name.String()
			}
			if len(names) < pageNames {
				return
			}
		}
	}
}

// Records implements [store.Ledger].
func (s *Store) Records(ctx context.Context) iter.Seq2[store.NamedEntry, error] {
	const statement = "SELECT " + columns + " FROM gatepass_entries WHERE prefix = $1 AND name LIKE 'sandbox/%/workspace' AND name > $2 ORDER BY name LIMIT $3"
	after := ""
	return s.entries(ctx, "list ledger records of "+s.where, 0, store.Name.IsRecord, func(last *row, limit int) (string, []any) {
		if last != nil {
			after = last.name
		}
		return statement, []any{s.prefix, after, limit}
	})
}

// Due implements [store.Indexed].
func (s *Store) Due(ctx context.Context, below store.Prefix, before time.Time, limit int) iter.Seq2[store.NamedEntry, error] {
	const statement = "SELECT " + columns + ", due FROM gatepass_entries WHERE prefix = $1 AND due < $2 AND (due, name) > ($3, $4) AND name > $5 AND name < $6 ORDER BY due, name LIMIT $7"
	first, end := bounds(below)
	what := "list due workspaces in " + s.listing(below)[len("list "):]
	var lastDue time.Time
	lastName := ""
	return s.entries(ctx, what, limit, func(store.Name) bool { return true }, func(last *row, limit int) (string, []any) {
		if last != nil {
			lastDue, lastName = last.due, last.name
		}
		return statement, []any{s.prefix, before, lastDue, lastName, first, end, limit}
	})
}

// entries yields what statements read, page by page. next returns the statement that
// continues after a row; nil means the first page. If limit is above 0, it yields at
// most limit entries.
func (s *Store) entries(ctx context.Context, what string, limit int, wanted func(store.Name) bool, next func(last *row, limit int) (string, []any)) iter.Seq2[store.NamedEntry, error] {
	return func(yield func(store.NamedEntry, error) bool) {
		var last *row
		for left := limit; limit <= 0 || left > 0; {
			size := pageValues
			if limit > 0 {
				size = min(size, left)
			}
			statement, arguments := next(last, size)
			rows, err := s.rows(ctx, what, statement, arguments...)
			if err != nil {
				yield(store.NamedEntry{}, err)
				return
			}
			for _, r := range rows {
				last = r
				name, err := store.ParseName(r.name)
				if err != nil || !wanted(name) {
					continue
				}
				entry, err := s.entry(ctx, "read "+r.name+" of "+s.where, r)
				if !yield(store.NamedEntry{Name: name, Entry: entry}, err) {
					return
				}
			}
			if left -= len(rows); len(rows) < size {
				return
			}
		}
	}
}

// rows reads entries, with their due times if the statement selects them.
func (s *Store) rows(ctx context.Context, what, statement string, arguments ...any) ([]*row, error) {
	return run(ctx, s, what, func(ctx context.Context, pool *pgxpool.Pool) ([]*row, error) {
		rows, err := pool.Query(ctx, statement, arguments...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, func(from pgx.CollectableRow) (*row, error) {
			var r row
			into := []any{&r.name, &r.value, &r.key, &r.modified, &r.version}
			if len(from.FieldDescriptions()) > len(into) {
				into = append(into, &r.due)
			}
			return &r, from.Scan(into...)
		})
	})
}
