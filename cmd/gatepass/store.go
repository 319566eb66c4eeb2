package main

import (
	"context"
	"fmt"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
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
type storeCommands struct{ *app }

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
				storeFlag(),
				&cli.BoolFlag{Name: "encrypt", Usage: "encrypt the values that are not encrypted", DisableDefaultText: true},
				jsonFlag(),
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
	if err := noArguments(c); err != nil {
		return err
	}
	s, err := cmd.store(c)
	if err != nil {
		return err
	}
	if both, ok := s.(interface{ Unwrap() store.Store }); ok { // tokens are in another store
		s = both.Unwrap()
	}
	m, ok := s.(migrator)
	if !ok {
		return usererr.New("migrate "+cmd.storeURL(c), "this store has no tables", "there is nothing to do")
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
		return writeJSON(cmd.stdout, done)
	}
	_, err = fmt.Fprint(cmd.stdout, done)
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

func githubFlag() cli.Flag {
	return &cli.StringFlag{Name: "github-url", Usage: "the `URL` of GitHub Enterprise, or " + issuing.GitHubVariable, DefaultText: mint.DefaultGitHub}
}

func storeFlag() cli.Flag {
	return &cli.StringFlag{Name: "store", Usage: "the `URL` of the store: " + issuing.KnownStores + "; or " + issuing.StoreVariable, DefaultText: "a directory of this user"}
}

func poolFlag() cli.Flag {
	return &cli.StringFlag{Name: "pool", Usage: "the pool's App of that `NAME`, instead of the first one", DefaultText: "the first App"}
}

// ofApp returns the part of the store that the App of --pool sees.
func ofApp(c *cli.Context, s store.Store) (store.Store, error) {
	if !c.IsSet("pool") {
		return s, nil
	}
	if err := store.CheckApp(c.String("pool")); err != nil {
		return nil, usage(c, "--pool: "+err.Error())
	}
	return store.OfApp(s, c.String("pool"))
}

// appStore opens the store of the command line as the App of --pool sees it. It returns
// an error if the pool has no such App.
func (a *app) appStore(c *cli.Context) (store.Store, error) {
	s, err := a.store(c)
	if err != nil || !c.IsSet("pool") {
		return s, err
	}
	of, err := ofApp(c, s)
	if err != nil {
		return nil, err
	}
	return of, issuing.RequireInPool(c.Context, s, c.String("pool"))
}

// store opens the store of the command line.
func (a *app) store(c *cli.Context) (store.Store, error) {
	url, err := issuing.StoreURL(c.String("store"), a.getenv)
	if err != nil {
		return nil, err
	}
	return issuing.OpenStore(url)
}

// github returns the GitHub of the command line; "" if it names none.
func (a *app) github(c *cli.Context) (string, error) {
	github := c.String("github-url")
	if github == "" {
		github = a.getenv(issuing.GitHubVariable)
	}
	if github == "" {
		return "", nil
	}
	if _, err := mint.APIURL(github); err != nil {
		return "", usage(c, "--github-url or "+issuing.GitHubVariable+": "+err.Error())
	}
	return github, nil
}

// storeURL returns the URL of the command line's store, safe to show.
func (a *app) storeURL(c *cli.Context) string {
	url, err := issuing.StoreURL(c.String("store"), a.getenv)
	if err != nil {
		return ""
	}
	return redact.Text(url, maxURL)
}

// maxURL is the longest URL that is shown, in bytes.
const maxURL = 1000

// storedApp opens the store of the command line and the App in it.
func (a *app) storedApp(c *cli.Context) (store.Store, *issuing.App, error) {
	github, err := a.github(c)
	if err != nil {
		return nil, nil, err
	}
	s, err := a.appStore(c)
	if err != nil {
		return nil, nil, err
	}
	app, err := issuing.LoadApp(c.Context, s, github)
	if err != nil {
		return nil, nil, err
	}
	return s, app, nil
}
