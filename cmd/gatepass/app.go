package main

import "github.com/urfave/cli/v2"

const appAbout = `The GitHub App is whom GitHub gives the tokens to. It belongs to a user or an
organization, is installed on the accounts whose repositories it may reach,
and proves itself by a private key.`

func (w *app) appCommand() *cli.Command {
	return &cli.Command{
		Name:        "app",
		Usage:       "look after the GitHub App that the tokens are minted for",
		UsageText:   "gatepass app COMMAND [options]",
		Description: appAbout,
		Subcommands: []*cli.Command{
			w.appCreateCommand(),
			w.appAddCommand(),
			w.appDiscoverCommand(),
			w.appStatusCommand(),
			w.appRotateKeyCommand(),
			w.appRemoveCommand(),
			w.appManifestCommand(),
			w.appKeyCommand(),
		},
	}
}
