package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/issuing/manifestflow"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

const appManifestAbout = `Prints the manifest from which "gatepass app create" lets GitHub create an App.
It makes no request. The manifest has no redirect_url: create adds its own.

Examples:
  gatepass app manifest --org acme
  gatepass app manifest --permissions clone,push,review --public`

// homepage is the link on the App's page at GitHub, unless --homepage names another.
const homepage = "https://github.com/gatepass/gatepass"

func (cmd commands) manifestCommand() *cli.Command {
	return &cli.Command{
		Name:        "manifest",
		Usage:       "print the manifest that create would send to GitHub",
		UsageText:   "gatepass app manifest [--org ORG] [--name NAME] [--permissions VERBS] [--public | --private] [--homepage URL] [--pool NAME] [--json]",
		Description: appManifestAbout,
		Flags:       append(manifestFlags(), &cli.BoolFlag{Name: "json", Usage: "print JSON (the output is always JSON)", DisableDefaultText: true}),
		Action:      cmd.manifest,
	}
}

// PermissionVerbs are the verbs of [mint.Verbs], the least powerful first and the
// rarest last.
var PermissionVerbs = []string{"clone", "fetch", "push", "comment", "review", "checks", "workflow", "actions"}

// manifestFlags are the options that describe the App.
func manifestFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "org", Usage: "the `ORGANIZATION` that will own the App", DefaultText: "you"},
		&cli.StringFlag{Name: "name", Usage: "the App's `NAME`, unique at GitHub", DefaultText: "gatepass-ORGANIZATION"},
		&cli.StringSliceFlag{Name: "permissions", Usage: "the permissions of the App, as `VERBS`, the most that a token can have: " + strings.Join(PermissionVerbs, ", "), Value: cli.NewStringSlice("clone", "push")},
		&cli.BoolFlag{Name: "public", Usage: "let any account install the App, not only its owner", DisableDefaultText: true},
		&cli.BoolFlag{Name: "private", Usage: "let only its owner install the App (the default)", DisableDefaultText: true},
		&cli.StringFlag{Name: "homepage", Usage: "the `URL` of the link on the App's page at GitHub", Value: homepage},
		command.PoolFlag(),
	}
}

func (cmd commands) manifest(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	m, err := manifest(c)
	if err != nil {
		return err
	}
	return command.WriteJSON(cmd.Stdout, m)
}

// manifest builds the manifest from the command line.
func manifest(c *cli.Context) (mint.Manifest, error) {
	if c.Bool("public") && c.Bool("private") {
		return mint.Manifest{}, command.Usage(c, "give either --public or --private")
	}
	permissions, err := mint.Verbs(c.StringSlice("permissions")...)
	if err != nil {
		return mint.Manifest{}, command.Usage(c, "--permissions: "+folded(err))
	}
	org := c.String("org")
	if _, err := mint.SettingsURL(mint.DefaultGitHub, org); err != nil {
		return mint.Manifest{}, command.Usage(c, "--org: "+err.Error())
	}
	m := mint.Manifest{
		Name: c.String("name"), Homepage: c.String("homepage"), Public: c.Bool("public"), Permissions: permissions,
		Description: "Short-lived git tokens for workspaces, minted by gatepass.",
	}
	if m.Name == "" && org != "" {
		m.Name = nameOf(org, c.String("pool"))
	}
	return m, wrong(c, m.Validate())
}

// wrong returns err as a usage error.
func wrong(c *cli.Context, err error) error {
	if err == nil {
		return nil
	}
	return command.Usage(c, folded(err))
}

// folded returns the text of joined errors on one line.
func folded(err error) string { return strings.Join(strings.Split(err.Error(), "\n"), " / ") }

// nameOf returns a name that GitHub accepts for the App of an organization, with the
// name in the pool appended. Organization names are ASCII.
func nameOf(org, pool string) string {
	if pool != "" {
		pool = "-" + pool
	}
	name := "gatepass-" + org
	return strings.TrimRight(name[:min(len(name), max(mint.MaxAppName-len(pool), 0))], "-") + pool
}

const appCreateAbout = `Opens a page on this machine that shows the new GitHub App. One click there and
one at GitHub create it; its credentials are then in the store and checked at
GitHub. The page waits for five minutes.

The App has only the permissions of --permissions, has no webhook, and can be
installed only by its owner. gatepass keeps only the client ID and the private
key. With --key-to, the key goes straight into AWS KMS or Vault, and the store
keeps only its URL.

A store that has an App already is not changed without --force. Before gatepass
asks GitHub for anything, it checks that it can write to the store. If a later
step fails, the key is in a file that only you can read, and a line names it.

With --pool NAME, the App is stored in addition to the first one. Both share the
mints for their accounts, each within its own limit.

If this machine has no browser, forward the page's port:
  ssh -L 8765:127.0.0.1:8765 HOST gatepass app create --no-browser --port 8765

Examples:
  gatepass app create --org acme
  gatepass app create --org acme --permissions clone,push,review --store 'ssm:///km?region=us-east-1'
  gatepass app create --key-to 'awskms:///alias/gatepass?region=us-east-1' --github-url https://ghe.example`

func (cmd commands) createCommand() *cli.Command {
	return &cli.Command{
		Name:        "create",
		Usage:       "create the App at GitHub, with a page in your browser",
		UsageText:   "gatepass app create [--org ORG] [--name NAME] [--permissions VERBS] [--public | --private] [--homepage URL]\n    [--pool NAME] [--store URL] [--key-to URL] [--github-url URL] [--force] [--no-browser] [--port N] [--json]",
		Description: appCreateAbout,
		Flags: append(manifestFlags(),
			command.StoreFlag(),
			&cli.StringFlag{Name: "key-to", Usage: "import the key into the KMS key of this `URL`: awskms:///alias/NAME or vault+transit://MOUNT/KEY", DefaultText: "the store keeps it"},
			command.GitHubFlag(),
			&cli.BoolFlag{Name: "force", Usage: "replace the App in the store", DisableDefaultText: true},
			&cli.BoolFlag{Name: "no-browser", Usage: "do not open a browser, only print the page's address", DisableDefaultText: true},
			&cli.IntFlag{Name: "port", Usage: "the `PORT` of the page on 127.0.0.1", DefaultText: "a free one"},
			command.JSONFlag(),
		),
		Action: cmd.create,
	}
}

// A vacancy is a KMS that can check, before the key exists, whether it can take one.
type vacancy interface {
	importer
	Vacant(ctx context.Context) error
}

// A creation is one run of "app create".
type creation struct {
	*command.Environment
	flow        manifestflow.Flow
	all         store.Store
	store       store.Store // the part of the store that this App sees
	pool        string      // the App's name; "" is the first
	mode        store.Mode
	github      string // https://HOST
	settings    string // the page that lists the Apps of this owner
	kms         vacancy
	keyTo       string // the URL of kms; "" if the store keeps the key
	nextOptions string // options that the next commands need, too
	quiet       bool   // progress goes to stderr, for --json
	browser     bool
	patience    time.Duration // how long to ask GitHub for the key
	client      *http.Client  // nil means a client of mint
}

func (cmd commands) create(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	o, err := cmd.creation(c)
	if err != nil {
		return err
	}
	if err := o.prepare(c.Context); err != nil {
		return err
	}
	report, err := o.run(c.Context)
	if err != nil {
		return err
	}
	if o.quiet {
		return command.WriteJSON(cmd.Stdout, report)
	}
	return o.print(report)
}

// creation reads the command line.
func (cmd commands) creation(c *cli.Context) (*creation, error) {
	m, err := manifest(c)
	if err != nil {
		return nil, err
	}
	if m.Name == "" {
		m.Name = "gatepass-" + strings.ToLower(rand.Text()[:6])
	}
	if port := c.Int("port"); port < 0 || port > 65535 {
		return nil, command.Usage(c, "--port must be a number up to 65535")
	}
	o := &creation{
		Environment: cmd.Environment, quiet: c.Bool("json"), browser: !c.Bool("no-browser"), patience: fetchFor,
		flow: manifestflow.Flow{Manifest: m, Org: c.String("org"), Port: c.Int("port")},
	}
	if c.Bool("force") {
		o.mode = store.Replace
	}
	if err := o.destination(c); err != nil {
		return nil, err
	}
	return o, o.place(c)
}

// place sets the GitHub at which the App is made.
func (o *creation) place(c *cli.Context) error {
	github, err := o.Environment.GitHub(c)
	if err == nil && o.pool != "" {
		github, err = issuing.GitHub(c.Context, o.all, github)
	}
	if err != nil {
		return err
	}
	apps, err := mint.SettingsURL(cmp.Or(github, mint.DefaultGitHub), "")
	if err != nil {
		return wrong(c, err)
	}
	o.github = strings.TrimSuffix(apps, "/settings/apps")
	o.flow.GitHub = o.github
	o.settings, err = mint.SettingsURL(o.github, o.flow.Org)
	return wrong(c, err)
}

// destination sets where the key goes.
func (o *creation) destination(c *cli.Context) error {
	named, err := issuing.StoreURL(c.String("store"), o.Getenv)
	if err != nil {
		return err
	}
	if o.all, err = o.Environment.Store(c); err != nil {
		return err
	}
	if o.store, err = command.OfApp(c, o.all); err != nil {
		return err
	}
	o.pool = c.String("pool")
	o.flow.KeyGoes = address(named)
	if c.String("store") != "" {
		o.nextOptions = " --store " + usererr.Quote(named)
	}
	o.nextOptions += ofPool(o.pool)
	if o.keyTo = c.String("key-to"); o.keyTo == "" {
		return nil
	}
	o.flow.KeyGoes = address(o.keyTo)
	return o.openKMS(c)
}

func (o *creation) openKMS(c *cli.Context) error {
	const into = "--key-to must be awskms:// or vault+transit://"
	if strings.HasPrefix(o.keyTo, "file:") {
		return command.Usage(c, into) // the file is not read
	}
	kms, err := issuing.OpenSigner(o.keyTo)
	if err != nil {
		return err
	}
	var ok bool
	if o.kms, ok = kms.(vacancy); !ok {
		return command.Usage(c, into)
	}
	return nil
}

// address is the URL of a store or key without its query and user.
func address(named string) string {
	u, err := url.Parse(named)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// prepare checks, before GitHub makes the App, everything that could fail after it.
func (o *creation) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	if err := o.checkPlace(ctx); err != nil {
		return err
	}
	if o.kms != nil {
		if err := o.kms.Vacant(ctx); err != nil {
			return err
		}
	}
	if err := issuing.Probe(ctx, o.store); err != nil {
		return usererr.Wrap("create the App: try to write to the store", err, "")
	}
	app, err := o.anonymous()
	if err != nil {
		return err
	}
	return app.Reach(ctx)
}

// checkPlace returns an error if the store cannot keep the App.
func (o *creation) checkPlace(ctx context.Context) error {
	switch {
	case o.pool != "":
		return issuing.CheckAddToPool(ctx, o.all, o.pool, issuing.Credentials{GitHub: o.github}, o.mode)
	case o.mode == store.CreateOnly:
		return issuing.CheckFree(ctx, o.store)
	}
	return nil
}

// anonymous returns a GitHub client without an App.
func (o *creation) anonymous() (*mint.App, error) {
	api, err := mint.APIURL(o.github)
	if err != nil {
		return nil, err
	}
	return &mint.App{URL: api, Client: o.client}, nil
}

// openBrowser opens a page on the desktop, if there is one. A failure is not reported:
// the address is on the terminal.
func openBrowser(getenv func(string) string, address string) {
	name := opener(runtime.GOOS, getenv)
	if name == "" {
		return
	}
	cmd := exec.Command(name, address)
	// The program may become the browser itself, which an interrupt of this program
	// must not end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }()
	}
}

// opener returns the program that opens pages on a desktop; "" if there is none.
func opener(system string, getenv func(string) string) string {
	switch {
	case system == "darwin":
		return "open"
	case getenv("WSL_DISTRO_NAME") != "":
		return "wslview"
	case getenv("DISPLAY") != "" || getenv("WAYLAND_DISPLAY") != "":
		return "xdg-open"
	}
	return ""
}
