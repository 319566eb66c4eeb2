package main

import (
	"context"
	"fmt"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

const (
	storeAbout = `Looks after the store where the issuing side keeps things.`

	storeMigrateAbout = `Makes the tables of a store in PostgreSQL, or brings them to the version that
this gatepass needs. Other commands never do: they refuse a database whose tables
are missing or older. Other stores have nothing to migrate.

It may be run again at any time, and by several at once. Upgrade the database
first, then the programs.

--encrypt is for a store that began without key= in its URL: it encrypts the
values that are stored as they are. Start all programs with key= afterwards.

Examples:
  gatepass store migrate --store postgres://gatepass@db.example/gatepass?sslmode=verify-full
  gatepass store migrate --encrypt --store 'postgres://…&key=awskms:///alias/gatepass'`
)

func (w *app) storeCommand() *cli.Command {
	return &cli.Command{
		Name:        "store",
		Usage:       "look after the store of the issuing side",
		UsageText:   "gatepass store migrate",
		Description: storeAbout,
		Subcommands: []*cli.Command{{
			Name: "migrate", Usage: "make or upgrade the tables of a store in PostgreSQL",
			UsageText: "gatepass store migrate [--store URL] [--encrypt] [--json]", Description: storeMigrateAbout,
			Flags: []cli.Flag{
				storeFlag(),
				&cli.BoolFlag{Name: "encrypt", Usage: "encrypt what was stored as it is", DisableDefaultText: true},
				jsonFlag(),
			},
			Action: w.storeMigrate,
		}},
	}
}

// A migrator is a store with a schema. Migrate returns its versions before, 0 for none,
// and after; Encrypt how many values it encrypted.
type migrator interface {
	Migrate(ctx context.Context) (from, to int, err error)
	Encrypt(ctx context.Context) (n int, err error)
}

// A migration is what "store migrate" did.
type migration struct {
	From      int  `json:"from"`
	To        int  `json:"to"`
	Encrypted *int `json:"encrypted,omitempty"` // nil unless it was asked for
}

func (w *app) storeMigrate(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	s, err := w.store(c)
	if err != nil {
		return err
	}
	if both, ok := s.(interface{ Unwrap() store.Store }); ok { // tokens are in another one
		s = both.Unwrap()
	}
	m, ok := s.(migrator)
	if !ok {
		return usererr.New("migrate "+w.storeURL(c), "this store has no tables", "there is nothing to do")
	}
	var done migration
	if done.From, done.To, err = m.Migrate(c.Context); err != nil {
		return err
	}
	if c.Bool("encrypt") {
		n, err := m.Encrypt(c.Context)
		if err != nil {
			return err
		}
		done.Encrypted = &n
	}
	if c.Bool("json") {
		return writeJSON(w.stdout, done)
	}
	_, err = fmt.Fprint(w.stdout, done)
	return err
}

// String says it in a line or two.
func (m migration) String() string {
	text := fmt.Sprintf("The tables have version %d already.\n", m.To)
	if m.From == 0 {
		text = fmt.Sprintf("The tables were made, version %d.\n", m.To)
	} else if m.From < m.To {
		text = fmt.Sprintf("The tables were brought from version %d to %d.\n", m.From, m.To)
	}
	if m.Encrypted != nil {
		text += fmt.Sprintf("%d values were encrypted.\n", *m.Encrypted)
	}
	return text
}
