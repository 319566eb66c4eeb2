package main

import (
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

// issuingFlags are the options of every command that works on the store.
func issuingFlags(more ...cli.Flag) []cli.Flag {
	return append(more, storeFlag(), gitHubFlag(), jsonFlag())
}

func gitHubFlag() cli.Flag {
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
func (a *Environment) appStore(c *cli.Context) (store.Store, error) {
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
func (a *Environment) store(c *cli.Context) (store.Store, error) {
	url, err := issuing.StoreURL(c.String("store"), a.getenv)
	if err != nil {
		return nil, err
	}
	return issuing.OpenStore(url)
}

// github returns the GitHub of the command line; "" if it names none.
func (a *Environment) github(c *cli.Context) (string, error) {
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
func (a *Environment) storeURL(c *cli.Context) string {
	url, err := issuing.StoreURL(c.String("store"), a.getenv)
	if err != nil {
		return ""
	}
	return redact.Text(url, maxURL)
}

// maxURL is the longest URL that is shown, in bytes.
const maxURL = 1000

// storedApp opens the store of the command line and the App in it.
func (a *Environment) storedApp(c *cli.Context) (store.Store, *issuing.App, error) {
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
