//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/postgrestest"
	"github.com/gatepass/gatepass/test/storetest"
)

func openStore(t testing.TB, raw string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// migrated is a server with the schema. It does not wait for its disk.
func migrated(t testing.TB, options ...string) *postgrestest.Server {
	t.Helper()
	if options == nil {
		options = []string{"fsync=off"}
	}
	server := postgrestest.New(t, options...)
	if _, _, err := openStore(t, server.URL("")).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server
}

// prefixes returns what storetest opens stores with.
func prefixes(server *postgrestest.Server, query string) func(t *testing.T) func() store.Store {
	n := 0
	return func(t *testing.T) func() store.Store {
		n++
		address := server.URL(fmt.Sprintf("prefix=team/p%d%s", n, query))
		return func() store.Store { return openStore(t, address) }
	}
}

func put(t testing.TB, s store.Store, name store.Name, value string) {
	t.Helper()
	if err := s.Put(t.Context(), name, store.NewSecret(value), store.Replace); err != nil {
		t.Fatalf("Put(%s) = %v", name, err)
	}
}

// checkError wants one line with all of the parts.
func checkError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, part := range append(parts, "") {
		if text := err.Error(); !strings.Contains(text, part) || strings.ContainsAny(text, "\n\r") {
			t.Errorf("error = %q, want %q in one line", text, part)
		}
	}
}

func TestRealStoreConforms(t *testing.T) {
	storetest.Run(t, prefixes(migrated(t), ""))
}

func TestRealStoreIsDamaged(t *testing.T) {
	server := migrated(t)
	storetest.Damaged(t, openStore(t, server.URL("")), func(name store.Name) {
		server.Exec("gatepass", "INSERT INTO gatepass_entries (prefix, name, value, modified, version) VALUES ('', '"+name.String()+"', '', now(), gen_random_uuid()) ON CONFLICT (prefix, name) DO UPDATE SET value = ''")
	})
}

func TestRealWatchGoesOn(t *testing.T) {
	server := migrated(t)
	storetest.WatchGoesOn(t, func() store.Store { return openStore(t, server.URL("")) }, server.Cut)
}

// Nothing makes or changes the schema but migrate.
func TestRealSchema(t *testing.T) {
	server := postgrestest.New(t, "fsync=off")
	get := func() error {
		_, err := openStore(t, server.URL("")).Get(t.Context(), store.Signer())
		return err
	}
	checkError(t, get(), "the database has no schema of gatepass; run gatepass store migrate")
	checkError(t, openStore(t, server.URL("")).Watch(t.Context(), store.Everything(), func() {}), "run gatepass store migrate")
	s := openStore(t, server.URL(""))
	for i, want := range []int{0, len(steps)} {
		if from, to, err := s.Migrate(t.Context()); from != want || to != len(steps) || err != nil {
			t.Errorf("migration %d = from %d to %d, %v, want from %d to %d", i, from, to, err, want, len(steps))
		}
	}
	if err := get(); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	server.Exec("gatepass", "UPDATE gatepass_schema SET version = 0")
	checkError(t, get(), "the schema has version 0, and this program needs 1; run gatepass store migrate")
	server.Exec("gatepass", "UPDATE gatepass_schema SET version = 99")
	checkError(t, get(), "the schema has version 99, and this program knows 1; use a newer gatepass")
	_, _, err := s.Migrate(t.Context())
	checkError(t, err, "use a newer gatepass")
	server.Exec("gatepass", "UPDATE gatepass_schema SET version = 1; ALTER DATABASE gatepass SET synchronous_commit = off")
	checkError(t, get(), "synchronous_commit is off")
}

// Of several programs that migrate at the same moment, one does.
func TestRealMigrationsAtOnce(t *testing.T) {
	server := postgrestest.New(t, "fsync=off")
	results := make(chan int, 8)
	for range cap(results) {
		s := openStore(t, server.URL(""))
		go func() {
			from, _, err := s.Migrate(context.WithoutCancel(t.Context()))
			if err != nil {
				t.Error(err)
			}
			results <- from
		}()
	}
	made := 0
	for range cap(results) {
		if from := <-results; from == 0 {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d made the schema, want one", made)
	}
}

// A role without rights is told what it lacks, and a user that is not known that.
func TestRealRights(t *testing.T) {
	server := migrated(t)
	server.Exec("gatepass", "CREATE ROLE reader LOGIN")
	as := func(user string) string { return strings.Replace(server.URL(""), "gatepass@", user+"@", 1) }
	_, err := openStore(t, as("reader")).Get(t.Context(), store.Signer())
	checkError(t, err, "permission denied for table gatepass_schema", "docs/postgres.md")
	_, err = openStore(t, as("stranger")).Get(t.Context(), store.Signer())
	checkError(t, err, "does not let this user in", "stranger")
	_, err = openStore(t, strings.Replace(server.URL(""), "/gatepass?", "/other?", 1)).Get(t.Context(), store.Signer())
	checkError(t, err, `database "other" does not exist`)
}

// A standby may be behind: what operators blocked would not be blocked.
func TestRealStandbysAreNotAsked(t *testing.T) {
	server := migrated(t)
	replica := server.Replica()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := openStore(t, replica.URL("")).Get(ctx, store.Signer())
	checkError(t, err, "no server accepts writes: only a standby answers", "name all servers")
	if _, err := openStore(t, replica.URL("", server)).Get(t.Context(), store.Signer()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get with the standby named first = %v, want ErrNotFound of the other", err)
	}
}
