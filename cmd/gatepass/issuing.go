package main

import (
	"github.com/gatepass/gatepass/cmd/internal/issuing"
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

// store opens the store of the command line.
func (w *world) store(c *cli.Context) (store.Store, error) {
	url, err := issuing.StoreURL(c.String("store"), w.getenv)
	if err != nil {
		return nil, err
	}
	return issuing.OpenStore(url)
}

// github returns the GitHub of the command line; "" where it names none.
func (w *world) github(c *cli.Context) (string, error) {
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

// apiURL returns the REST API of the GitHub that is asked.
func (w *world) apiURL(c *cli.Context) (string, error) {
	github, err := w.github(c)
	if err != nil || github == "" {
		return mint.DefaultURL, err
	}
	return mint.APIURL(github)
}
