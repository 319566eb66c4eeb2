package main

import (
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

func githubFlag() cli.Flag {
	return &cli.StringFlag{Name: "github-url", Usage: "the `URL` of GitHub Enterprise, or " + issuing.GitHubVariable, DefaultText: mint.DefaultGitHub}
}

func storeFlag() cli.Flag {
	return &cli.StringFlag{Name: "store", Usage: "the `URL` of the store: " + issuing.KnownStores + "; or " + issuing.StoreVariable, DefaultText: "a folder of yours"}
}

func poolFlag() cli.Flag {
	return &cli.StringFlag{Name: "pool", Usage: "the App of that `NAME`, beside the first one", DefaultText: "the first App"}
}

// ofApp is a store as the App of --pool sees it.
func ofApp(c *cli.Context, s store.Store) (store.Store, error) {
	if !c.IsSet("pool") {
		return s, nil
	}
	if err := store.CheckApp(c.String("pool")); err != nil {
		return nil, usage(c, "--pool: "+err.Error())
	}
	return store.OfApp(s, c.String("pool"))
}

// appStore opens the store of the command line as the App of --pool sees it. The pool has
// to have that App.
func (w *app) appStore(c *cli.Context) (store.Store, error) {
	s, err := w.store(c)
	if err != nil || !c.IsSet("pool") {
		return s, err
	}
	of, err := ofApp(c, s)
	if err != nil {
		return nil, err
	}
	return of, issuing.InPool(c.Context, s, c.String("pool"))
}

// store opens the store of the command line.
func (w *app) store(c *cli.Context) (store.Store, error) {
	url, err := issuing.StoreURL(c.String("store"), w.getenv)
	if err != nil {
		return nil, err
	}
	return issuing.OpenStore(url)
}

// github returns the GitHub of the command line; "" where it names none.
func (w *app) github(c *cli.Context) (string, error) {
	github := c.String("github-url")
	if github == "" {
		github = w.getenv(issuing.GitHubVariable)
	}
	if github == "" {
		return "", nil
	}
	if _, err := mint.APIURL(github); err != nil {
		return "", usage(c, "--github-url or "+issuing.GitHubVariable+": "+err.Error())
	}
	return github, nil
}

// storeURL is the store of the command line, as it may be shown.
func (w *app) storeURL(c *cli.Context) string {
	url, err := issuing.StoreURL(c.String("store"), w.getenv)
	if err != nil {
		return ""
	}
	return redact.Text(url, maxURL)
}

// maxURL bounds a URL that is shown, in bytes.
const maxURL = 1000

// storedApp opens the store of the command line, and the App in it.
func (w *app) storedApp(c *cli.Context) (store.Store, *issuing.App, error) {
	github, err := w.github(c)
	if err != nil {
		return nil, nil, err
	}
	s, err := w.appStore(c)
	if err != nil {
		return nil, nil, err
	}
	app, err := issuing.LoadApp(c.Context, s, github)
	if err != nil {
		return nil, nil, err
	}
	return s, app, nil
}
