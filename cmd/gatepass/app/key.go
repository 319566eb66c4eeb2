package app

import (
	"cmp"
	"context"
	"crypto/rsa"
	"fmt"
	"io"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/urfave/cli/v2"
)

func (cmd commands) keyCommand() *cli.Command {
	return &cli.Command{
		Name:      "key",
		Usage:     "check or import the App's private key",
		UsageText: "gatepass app key check --app-client-id ID (--private-key-file PEM | --signer URL)\ngatepass app key import --private-key-file PEM --to URL",
		Subcommands: []*cli.Command{
			cmd.checkKeyCommand(),
			cmd.importKeyCommand(),
		},
	}
}

// appKeyFlags are the options that name an App and its key.
func appKeyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "app-client-id", Usage: "the App's client `ID`, or its App ID"},
		privateKeyFlag(),
		&cli.StringFlag{Name: "signer", Usage: "the `URL` of a key, instead of a file: awskms:///alias/NAME, gcpkms://projects/…/cryptoKeys/KEY, azurekeys://VAULTHOST/KEY, vault+transit://MOUNT/KEY or file:///PATH"},
		command.GitHubFlag(),
	}
}

func privateKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "private-key-file", Usage: "a `PEM` file as GitHub gives it out, with mode 0600"}
}

// appSigner opens the key of the command line.
func appSigner(c *cli.Context) (issuing.Signer, error) {
	file, url := c.String("private-key-file"), c.String("signer")
	switch {
	case (file == "") == (url == ""):
		return nil, command.Usage(c, "give either --private-key-file or --signer")
	case file != "":
		return issuing.ReadKeyFile(file)
	}
	return issuing.OpenSigner(url)
}

const appKeyCheckAbout = `Signs one JSON web token with the key, sends it to GitHub, and prints the result.
Nothing is changed, and no token is minted.

The fingerprint is the one under "Private keys" in the App's settings.

Examples:
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --private-key-file app.pem
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --signer 'awskms:///alias/gatepass?region=us-east-1'
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --signer gcpkms://projects/acme/locations/europe-west1/keyRings/git/cryptoKeys/app
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --signer azurekeys://acme-git.vault.azure.net/app
  gatepass app key check --app-client-id Iv23liAbCdEfGhIjKlMn --signer 'vault+transit://transit/gatepass?addr=https://vault.example'`

// checkWait limits the check, with its requests to a KMS and to GitHub.
const checkWait = time.Minute

func (cmd commands) checkKeyCommand() *cli.Command {
	return &cli.Command{
		Name:        "check",
		Usage:       "check at GitHub that a key belongs to the App, and name the App's owner",
		UsageText:   "gatepass app key check --app-client-id ID (--private-key-file PEM | --signer URL) [--github-url URL] [--json]",
		Description: appKeyCheckAbout,
		Flags:       append(appKeyFlags(), command.JSONFlag()),
		Action:      cmd.checkKey,
	}
}

// KeyReport is the JSON of "app key check".
type KeyReport struct {
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

func (cmd commands) checkKey(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	id := c.String("app-client-id")
	if id == "" {
		return command.Usage(c, "--app-client-id is missing")
	}
	github, err := cmd.GitHub(c)
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
	report := KeyReport{newAppReport(proof.App), summarize(proof.Key)}
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, report)
	}
	return printKeyReport(cmd.Stdout, report)
}

func newAppReport(app mint.Registration) appReport {
	return appReport{
		ID: app.ID, ClientID: app.ClientID, Slug: app.Slug, Name: app.Name, Owner: app.Owner.Login,
		URL: app.HTMLURL, Permissions: app.Permissions, Installations: app.Installations,
	}
}

func printKeyReport(out io.Writer, r KeyReport) error {
	text := usererr.Escape
	fmt.Fprintf(out, "the key belongs to the App %s\n", text(r.App.Name))
	_, err := io.WriteString(out, command.Pairs([][2]string{
		{"slug", r.App.Slug},
		{"owner", r.App.Owner},
		{"App ID", fmt.Sprint(r.App.ID)},
		{"client ID", r.App.ClientID},
		{"page", r.App.URL},
		{"installations", fmt.Sprint(r.App.Installations)},
		{"key", r.Key.text()},
	}...))
	return err
}

const appKeyImportAbout = `Imports the App's private key into a KMS, so that you need not keep a file with
it. The key leaves this machine wrapped; only the KMS can unwrap it.

With AWS KMS, an alias without a key gets a new key. You can also name a key of
origin EXTERNAL that is pending import. With Vault, the transit engine gets a new
key, which can neither be exported nor rotated there.

An existing key is never replaced. To import the same key again changes nothing,
and finishes an interrupted import.

Examples:
  gatepass app key import --private-key-file app.pem --to 'awskms:///alias/gatepass?region=us-east-1'
  gatepass app key import --private-key-file app.pem --to 'vault+transit://transit/gatepass?addr=https://vault.example'`

// importWait limits an import; AWS shows a new key only after a while.
const importWait = time.Minute

func (cmd commands) importKeyCommand() *cli.Command {
	return &cli.Command{
		Name:        "import",
		Usage:       "import the App's private key into AWS KMS or Vault",
		UsageText:   "gatepass app key import --private-key-file PEM --to URL [--json]",
		Description: appKeyImportAbout,
		Flags: []cli.Flag{
			privateKeyFlag(),
			&cli.StringFlag{Name: "to", Usage: "the `URL` of the key: awskms:///alias/NAME or vault+transit://MOUNT/KEY"},
			command.JSONFlag(),
		},
		Action: cmd.importKey,
	}
}

// An importer is a KMS that can import a key. Importing a key that it already has is
// not an error.
type importer interface {
	Import(ctx context.Context, key *mint.KeySigner) error
}

// importReport is the JSON of "app key import".
type importReport struct {
	Signer string     `json:"signer"`
	Key    keySummary `json:"key"`
}

func (cmd commands) importKey(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	file, to := c.String("private-key-file"), c.String("to")
	if file == "" || to == "" {
		return command.Usage(c, "give both --private-key-file and --to")
	}
	kms, err := issuing.OpenSigner(to)
	if err != nil {
		return err
	}
	target, ok := kms.(importer)
	if !ok {
		return command.Usage(c, "--to must be awskms:// or vault+transit://")
	}
	key, err := mint.ReadKey(file)
	if err != nil {
		return usererr.Wrap("read the App's key", err, "")
	}
	ctx, cancel := context.WithTimeout(c.Context, importWait)
	defer cancel()
	if err := target.Import(ctx, key); err != nil {
		return err
	}
	report := importReport{to, summarize(key.Public())}
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, report)
	}
	_, err = fmt.Fprintf(cmd.Stdout, "the key %s is in %s\ncheck it with gatepass app key check --signer, then delete %s\n",
		report.Key.Fingerprint, usererr.Escape(to), usererr.Escape(file))
	return err
}
