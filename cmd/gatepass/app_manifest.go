package main

import (
	"strings"

	"github.com/gatepass/gatepass/mint"
	"github.com/urfave/cli/v2"
)

const appManifestAbout = `Prints the manifest that "gatepass app create" has GitHub make an App from, and
asks nobody anything. It has no redirect_url: create gives its own.

Examples:
  gatepass app manifest --org acme
  gatepass app manifest --permissions clone,push,review --public`

// homepage is what the App's page at GitHub links to, unless somebody says
// otherwise.
const homepage = "https://github.com/gatepass/gatepass"

func (w *app) appManifestCommand() *cli.Command {
	return &cli.Command{
		Name:        "manifest",
		Usage:       "print what GitHub would be asked for",
		UsageText:   "gatepass app manifest [--org ORG] [--name NAME] [--permissions VERBS] [--public | --private] [--homepage URL] [--pool NAME] [--json]",
		Description: appManifestAbout,
		Flags:       append(manifestFlags(), &cli.BoolFlag{Name: "json", Usage: "print JSON, as it does anyway", DisableDefaultText: true}),
		Action:      w.appManifest,
	}
}

// permissionVerbs are those of [mint.Verbs], from the least to the rarest.
var permissionVerbs = []string{"clone", "fetch", "push", "comment", "review", "checks", "workflow", "actions"}

// manifestFlags say what App is wanted.
func manifestFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "org", Usage: "the `ORGANIZATION` that is to own the App", DefaultText: "you"},
		&cli.StringFlag{Name: "name", Usage: "the App's `NAME`, which nobody else at GitHub has", DefaultText: "gatepass-ORGANIZATION"},
		&cli.StringSliceFlag{Name: "permissions", Usage: "`VERBS` that say what tokens may ever be good for: " + strings.Join(permissionVerbs, ", "), Value: cli.NewStringSlice("clone", "push")},
		&cli.BoolFlag{Name: "public", Usage: "let any account install the App, and not its owner alone", DisableDefaultText: true},
		&cli.BoolFlag{Name: "private", Usage: "let its owner alone install the App, as it is without --public", DisableDefaultText: true},
		&cli.StringFlag{Name: "homepage", Usage: "the `URL` that the App's page at GitHub links to", Value: homepage},
		poolFlag(),
	}
}

func (w *app) appManifest(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	m, err := manifest(c)
	if err != nil {
		return err
	}
	return writeJSON(w.stdout, m)
}

// manifest is what the command line asks for.
func manifest(c *cli.Context) (mint.Manifest, error) {
	if c.Bool("public") && c.Bool("private") {
		return mint.Manifest{}, usage(c, "give either --public or --private")
	}
	permissions, err := mint.Verbs(c.StringSlice("permissions")...)
	if err != nil {
		return mint.Manifest{}, usage(c, "--permissions: "+folded(err))
	}
	org := c.String("org")
	if _, err := mint.SettingsURL(mint.DefaultGitHub, org); err != nil {
		return mint.Manifest{}, usage(c, "--org: "+err.Error())
	}
	m := mint.Manifest{
		Name: c.String("name"), Homepage: c.String("homepage"), Public: c.Bool("public"), Permissions: permissions,
		Description: "Short-lived git tokens for workspaces, made by gatepass.",
	}
	if m.Name == "" && org != "" {
		m.Name = nameOf(org, c.String("pool"))
	}
	return m, wrong(c, m.Validate())
}

// wrong is err as a mistake of the command line.
func wrong(c *cli.Context, err error) error {
	if err == nil {
		return nil
	}
	return usage(c, folded(err))
}

// folded is the text of joined errors on one line.
func folded(err error) string { return strings.Join(strings.Split(err.Error(), "\n"), " / ") }

// nameOf is a name that GitHub takes for the App of an organization, and of that name in
// the pool. Names of organizations are ASCII.
func nameOf(org, pool string) string {
	if pool != "" {
		pool = "-" + pool
	}
	name := "gatepass-" + org
	return strings.TrimRight(name[:min(len(name), max(mint.MaxAppName-len(pool), 0))], "-") + pool
}

// ofPool is the option that names an App of the pool, for a command to run next.
func ofPool(name string) string {
	if name == "" {
		return ""
	}
	return " --pool " + name
}
