package main

import (
	"context"
	"fmt"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

const (
	storeAbout = `Manages the store of the issuing side.`

	storeMigrateAbout = `Creates the tables of a store in PostgreSQL, or upgrades them to the version that
this gatepass needs. Other commands never do this: they refuse a database with
missing or older tables. Other stores have nothing to migrate.

You can run it again at any time, and several times at once. Upgrade the database
first, then the programs.

--encrypt is for a store that began without key= in its URL: it encrypts the
values that are not encrypted. Start all programs with key= afterwards.

Examples:
  gatepass store migrate --store postgres://gatepass@db.example/gatepass?sslmode=verify-full
  gatepass store migrate --encrypt --store 'postgres://…&key=awskms:///alias/gatepass'`
)

// storeCommands are the commands of "gatepass store".
type storeCommands struct{ *command.Environment }

func (cmd storeCommands) command() *cli.Command {
	return &cli.Command{
		Name:        "store",
		Usage:       "manage the store of the issuing side",
		UsageText:   "gatepass store migrate",
		Description: storeAbout,
		Subcommands: []*cli.Command{{
			Name: "migrate", Usage: "create or upgrade the tables of a store in PostgreSQL",
			UsageText: "gatepass store migrate [--store URL] [--encrypt] [--json]", Description: storeMigrateAbout,
			Flags: []cli.Flag{
				command.StoreFlag(),
				&cli.BoolFlag{Name: "encrypt", Usage: "encrypt the values that are not encrypted", DisableDefaultText: true},
				command.JSONFlag(),
			},
			Action: cmd.migrate,
		}},
	}
}

// A migrator is a store with a schema. Migrate returns the schema's versions before, 0
// for none, and after; Encrypt returns how many values it encrypted.
type migrator interface {
	Migrate(ctx context.Context) (from, to int, err error)
	Encrypt(ctx context.Context) (n int, err error)
}

// A migration is the result of "store migrate".
type migration struct {
	From      int  `json:"from"`
	To        int  `json:"to"`
	Encrypted *int `json:"encrypted,omitempty"` // nil unless --encrypt was given
}

func (cmd storeCommands) migrate(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	s, err := cmd.Store(c)
	if err != nil {
		return err
	}
	if both, ok := s.(interface{ Unwrap() store.Store }); ok { // tokens are in another store
		s = both.Unwrap()
	}
	m, ok := s.(migrator)
	if !ok {
		return usererr.New("migrate "+cmd.StoreURL(c), "this store has no tables", "there is nothing to do")
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
		return command.WriteJSON(cmd.Stdout, done)
	}
	_, err = fmt.Fprint(cmd.Stdout, done)
	return err
}

// String describes the migration in a line or two.
func (m migration) String() string {
	text := fmt.Sprintf("The tables have version %d already.\n", m.To)
	if m.From == 0 {
		text = fmt.Sprintf("The tables were created, version %d.\n", m.To)
	} else if m.From < m.To {
		text = fmt.Sprintf("The tables were upgraded from version %d to %d.\n", m.From, m.To)
	}
	if m.Encrypted != nil {
		text += fmt.Sprintf("%d values were encrypted.\n", *m.Encrypted)
	}
	return text
}
