package main

import (
	"cmp"
	"context"
	"crypto/rsa"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/urfave/cli/v2"
)

const appKeyCheckAbout = `Signs one JSON web token with the key, shows it to GitHub, and says what GitHub
makes of it. Nothing is changed, and no token is minted.

The fingerprint is the one under "Private keys" in the App's settings.

Examples:
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --private-key-file app.pem
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --signer 'awskms:///alias/gatepass?region=us-east-1'
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --signer gcpkms://projects/acme/locations/europe-west1/keyRings/git/cryptoKeys/app
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --signer azurekeys://acme-git.vault.azure.net/app
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --signer 'vault+transit://transit/gatepass?addr=https://vault.example'`

// checkWait bounds the check, with its questions to a KMS and to GitHub.
const checkWait = time.Minute

func (w *app) appKeyCheckCommand() *cli.Command {
	return &cli.Command{
		Name:        "check",
		Usage:       "prove to GitHub that a key is the App's, and say whose App it is",
		UsageText:   "gatepass app key check --app-client-id ID (--private-key-file PEM | --signer URL) [--github-url URL] [--json]",
		Description: appKeyCheckAbout,
		Flags:       append(appKeyFlags(), jsonFlag()),
		Action:      w.appKeyCheck,
	}
}

// keyReport is the JSON of "app key check".
type keyReport struct {
	App appReport  `json:"app"`
	Key keySummary `json:"key"`
}

type appReport struct {
	ID            int64             `json:"id"`
	ClientID      string            `json:"client_id"`
	Slug          string            `json:"slug"`
	Name          string            `json:"name"`
	Owner         string            `json:"owner"`
	URL           string            `json:"html_url"`
	Permissions   map[string]string `json:"permissions"`
	Installations int               `json:"installations_count"`
}

type keySummary struct {
	Fingerprint string `json:"fingerprint"`
	Bits        int    `json:"bits"`
}

func summarize(key *rsa.PublicKey) keySummary {
	return keySummary{mint.Fingerprint(key), key.N.BitLen()}
}

func (w *app) appKeyCheck(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	id := c.String("app-client-id")
	if id == "" {
		return usage(c, "--app-client-id is missing")
	}
	github, err := w.github(c)
	if err != nil {
		return err
	}
	key, err := appSigner(c)
	if err != nil {
		return err
	}
	app, err := issuing.NewApp(id, key, cmp.Or(github, mint.DefaultGitHub))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, checkWait)
	defer cancel()
	proof, err := app.Prove(ctx)
	if err != nil {
		return err
	}
	report := keyReport{newAppReport(proof.App), summarize(proof.Key)}
	if c.Bool("json") {
		return writeJSON(w.stdout, report)
	}
	return w.printKeyReport(report)
}

func newAppReport(app mint.Registration) appReport {
	return appReport{
		ID: app.ID, ClientID: app.ClientID, Slug: app.Slug, Name: app.Name, Owner: app.Owner.Login,
		URL: app.HTMLURL, Permissions: app.Permissions, Installations: app.Installations,
	}
}

func (w *app) printKeyReport(r keyReport) error {
	text := usererr.Escape
	fmt.Fprintf(w.stdout, "the key belongs to the App %s\n", text(r.App.Name))
	t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"slug", r.App.Slug},
		{"owner", r.App.Owner},
		{"App ID", fmt.Sprint(r.App.ID)},
		{"client ID", r.App.ClientID},
		{"page", r.App.URL},
		{"installations", fmt.Sprint(r.App.Installations)},
		{"key", r.Key.text()},
	} {
		fmt.Fprintf(t, "  %s\t%s\n", row[0], text(row[1]))
	}
	return t.Flush()
}
