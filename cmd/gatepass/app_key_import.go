package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/urfave/cli/v2"
)

const appKeyImportAbout = `Puts the App's private key into a KMS, so that no file with it has to be kept
anywhere. The key leaves this machine wrapped for the KMS and for nobody else.

With AWS KMS, an alias that points nowhere gets a new key; a key of origin
EXTERNAL that is pending import can be named as well. With Vault, a new key is
made in the transit engine, which can neither be exported nor rotated there.

A key that holds another one is never replaced. Importing the same key again
changes nothing, and finishes what was interrupted.

Examples:
  gatepass app key import --private-key-file app.pem --to 'awskms:///alias/gatepass?region=us-east-1'
  gatepass app key import --private-key-file app.pem --to 'vault+transit://transit/gatepass?addr=https://vault.example'`

// importWait bounds an import; AWS shows a new key only after a while.
const importWait = time.Minute

func (w *app) appKeyImportCommand() *cli.Command {
	return &cli.Command{
		Name:        "import",
		Usage:       "put the App's private key into AWS KMS or Vault",
		UsageText:   "gatepass app key import --private-key-file PEM --to URL [--json]",
		Description: appKeyImportAbout,
		Flags: []cli.Flag{
			privateKeyFlag(),
			&cli.StringFlag{Name: "to", Usage: "the `URL` of the key: awskms:///alias/NAME or vault+transit://MOUNT/KEY"},
			jsonFlag(),
		},
		Action: w.appKeyImport,
	}
}

// An importer is a KMS that takes a key. It returns no error when the key is in
// it already.
type importer interface {
	Import(ctx context.Context, key *mint.KeySigner) error
}

// importReport is the JSON of "app key import".
type importReport struct {
	Signer string     `json:"signer"`
	Key    keySummary `json:"key"`
}

func (w *app) appKeyImport(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	file, to := c.String("private-key-file"), c.String("to")
	if file == "" || to == "" {
		return usage(c, "give both --private-key-file and --to")
	}
	kms, err := issuing.OpenSigner(to)
	if err != nil {
		return err
	}
	target, ok := kms.(importer)
	if !ok {
		return usage(c, "--to: a key is imported into awskms:// or vault+transit://")
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
		return writeJSON(w.stdout, report)
	}
	_, err = fmt.Fprintf(w.stdout, "the key %s is in %s\ncheck it with gatepass app key check --signer, then delete %s\n",
		report.Key.Fingerprint, usererr.Escape(to), usererr.Escape(file))
	return err
}
