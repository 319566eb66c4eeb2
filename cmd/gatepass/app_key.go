package main

import (
	"github.com/gatepass/gatepass/issuing"
	"github.com/urfave/cli/v2"
)

func (w *app) appKeyCommand() *cli.Command {
	return &cli.Command{
		Name:      "key",
		Usage:     "look after the App's private key",
		UsageText: "gatepass app key check --app-client-id ID (--private-key-file PEM | --signer URL)\ngatepass app key import --private-key-file PEM --to URL",
		Subcommands: []*cli.Command{
			w.appKeyCheckCommand(),
			w.appKeyImportCommand(),
		},
	}
}

// appKeyFlags say which App and which key.
func appKeyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "app-client-id", Usage: "the App's client `ID`, or its App ID"},
		privateKeyFlag(),
		&cli.StringFlag{Name: "signer", Usage: "the `URL` of a key instead: awskms:///alias/NAME, gcpkms://projects/…/cryptoKeys/KEY, azurekeys://VAULTHOST/KEY, vault+transit://MOUNT/KEY or file:///PATH"},
		githubFlag(),
	}
}

func privateKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "private-key-file", Usage: "a `PEM` file as GitHub hands it out, mode 0600"}
}

// appSigner opens the key of the command line.
func appSigner(c *cli.Context) (issuing.Signer, error) {
	file, url := c.String("private-key-file"), c.String("signer")
	switch {
	case (file == "") == (url == ""):
		return nil, usage(c, "give either --private-key-file or --signer")
	case file != "":
		return issuing.ReadKeyFile(file)
	}
	return issuing.OpenSigner(url)
}
