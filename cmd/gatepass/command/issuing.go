package command

import (
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

// IssuingFlags are the options of every command that works on the store.
func IssuingFlags(more ...cli.Flag) []cli.Flag {
	return append(more, StoreFlag(), GitHubFlag(), JSONFlag())
}

// GitHubFlag is the option --github-url.
func GitHubFlag() cli.Flag {
	return &cli.StringFlag{Name: "github-url", Usage: "the `URL` of GitHub Enterprise, or " + issuing.GitHubVariable, DefaultText: mint.DefaultGitHub}
}

// StoreFlag is the option --store.
func StoreFlag() cli.Flag {
	return &cli.StringFlag{Name: "store", Usage: "the `URL` of the store: " + issuing.KnownStores + "; or " + issuing.StoreVariable, DefaultText: "a directory of this user"}
}

// PoolFlag is the option --pool.
func PoolFlag() cli.Flag {
	return &cli.StringFlag{Name: "pool", Usage: "the pool's App of that `NAME`, instead of the first one", DefaultText: "the first App"}
}

// OfApp returns the part of the store that the App of --pool sees.
func OfApp(c *cli.Context, s store.Store) (store.Store, error) {
	if !c.IsSet("pool") {
		return s, nil
	}
	if err := store.CheckApp(c.String("pool")); err != nil {
		return nil, Usage(c, "--pool: "+err.Error())
	}
	return store.OfApp(s, c.String("pool"))
}

// AppStore opens the store of the command line as the App of --pool sees it. It returns
// an error if the pool has no such App.
func (a *Environment) AppStore(c *cli.Context) (store.Store, error) {
	s, err := a.Store(c)
	if err != nil || !c.IsSet("pool") {
		return s, err
	}
	of, err := OfApp(c, s)
	if err != nil {
		return nil, err
	}
	return of, issuing.RequireInPool(c.Context, s, c.String("pool"))
}

// Store opens the store of the command line.
func (a *Environment) Store(c *cli.Context) (store.Store, error) {
	url, err := issuing.StoreURL(c.String("store"), a.Getenv)
	if err != nil {
		return nil, err
	}
	return issuing.OpenStore(url)
}

// GitHub returns the GitHub of the command line; "" if it names none.
func (a *Environment) GitHub(c *cli.Context) (string, error) {
	github := c.String("github-url")
	if github == "" {
		github = a.Getenv(issuing.GitHubVariable)
	}
	if github == "" {
		return "", nil
	}
	if _, err := mint.APIURL(github); err != nil {
		return "", Usage(c, "--github-url or "+issuing.GitHubVariable+": "+err.Error())
	}
	return github, nil
}

// StoreURL returns the URL of the command line's store, safe to show.
func (a *Environment) StoreURL(c *cli.Context) string {
	url, err := issuing.StoreURL(c.String("store"), a.Getenv)
	if err != nil {
		return ""
	}
	return redact.Text(url, MaxURL)
}

// MaxURL is the longest URL that is shown, in bytes.
const MaxURL = 1000

// StoredApp opens the store of the command line and the App in it.
func (a *Environment) StoredApp(c *cli.Context) (store.Store, *issuing.App, error) {
	github, err := a.GitHub(c)
	if err != nil {
		return nil, nil, err
	}
	s, err := a.AppStore(c)
	if err != nil {
		return nil, nil, err
	}
	app, err := issuing.LoadApp(c.Context, s, github)
	if err != nil {
		return nil, nil, err
	}
	return s, app, nil
}
