package app

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

const appAddAbout = `Stores an App that exists at GitHub: its ID, its key and its installations. The
key is checked at GitHub before anything is written. A key in a KMS stays there:
--signer names it, and the store keeps only that URL.

At a terminal, the command asks for a missing client ID or path of the key's
file. With --non-interactive it asks nothing.

Without --installation-id and --account, all installations are looked up, as
gatepass app discover does. With one of them, GitHub is asked for that
installation; with both, it must be on that account. To add an installation to an
App that is set up, name only the installation.

Only --force replaces what the store has already.

With --pool NAME, the App is stored in addition to the first one. If several Apps
are installed on an account, they share its mints, each within its own limit.

Examples:
  gatepass app add --app-client-id Iv23liAbCdEfGhIjKlMn --private-key-file app.pem
  gatepass app add --app-client-id Iv23liAbCdEfGhIjKlMn --signer 'awskms:///alias/gatepass?region=us-east-1'
  gatepass app add --installation-id 12345678 --account my-org
  gatepass app add --pool b --app-client-id Iv23liBbCdEfGhIjKlMn --private-key-file b.pem`

func (cmd commands) addCommand() *cli.Command {
	return &cli.Command{
		Name:        "add",
		Usage:       "store an existing App and its installations",
		UsageText:   "gatepass app add --app-client-id ID (--private-key-file PEM | --signer URL) [--installation-id N] [--account LOGIN]\n    [--pool NAME] [--force] [--non-interactive] [--store URL] [--github-url URL] [--json]\ngatepass app add --installation-id N [--account LOGIN] [--pool NAME] [--force]",
		Description: appAddAbout,
		Flags: append(appKeyFlags(),
			&cli.Int64Flag{Name: "installation-id", Usage: "the `ID` of the one installation to add", DefaultText: "all"},
			&cli.StringFlag{Name: "account", Usage: "the `LOGIN` of the account of the one installation to add"},
			&cli.BoolFlag{Name: "force", Usage: "replace entries that the store has already", DisableDefaultText: true},
			&cli.BoolFlag{Name: "non-interactive", Usage: "ask nothing; a missing value is an error", DisableDefaultText: true},
			command.PoolFlag(), command.StoreFlag(), command.JSONFlag(),
		),
		Action: cmd.add,
	}
}

// An addition is the input of "app add".
type addition struct {
	all          store.Store
	store        store.Store // the part of the store that this App sees
	pool         string      // the App's name; "" is the first
	app          *issuing.App
	credentials  *issuing.Credentials // nil if the App in the store is used unchanged
	keyFile      string               // the file that the key was read from, if any
	installation int64                // 0 where any
	account      string               // "" means any account
	force        bool
}

func (cmd commands) add(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	if c.IsSet("installation-id") && c.Int64("installation-id") <= 0 {
		return command.Usage(c, "--installation-id must be a number above 0")
	}
	a := addition{installation: c.Int64("installation-id"), account: c.String("account"), force: c.Bool("force")}
	named := c.String("app-client-id") != "" || c.String("private-key-file") != "" || c.String("signer") != ""
	err := cmd.prepareAddition(c, &a, named)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, discoverWait)
	defer cancel()
	proof, err := a.app.Prove(ctx)
	if err != nil {
		return err
	}
	found, err := a.run(ctx)
	if err != nil {
		return err
	}
	report := AddReport{KeyReport{newAppReport(proof.App), summarize(proof.Key)}, cmd.StoreURL(c), found}
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, report)
	}
	return printAddition(cmd.Stdout, cmd.Screen(), a, report, issuing.InstallURL(proof.App))
}

// prepareAddition finds out which App is meant. If the command line names only an
// installation, it is the App in the store, if there is one.
func (cmd commands) prepareAddition(c *cli.Context, a *addition, named bool) (err error) {
	if a.all, err = cmd.Store(c); err != nil {
		return err
	}
	a.pool = c.String("pool")
	if a.store, err = command.OfApp(c, a.all); err != nil {
		return err
	}
	kept, err := issuing.StoredNames(c.Context, a.store)
	if err != nil {
		return err
	}
	if len(kept) > 0 && !named && (a.installation != 0 || a.account != "") {
		a.store, a.app, err = cmd.StoredApp(c)
		return err
	}
	if !a.force && a.pool == "" {
		if err := issuing.CheckFree(c.Context, a.store); err != nil {
			return err
		}
	}
	if err := cmd.newApp(c, a); err != nil || a.pool == "" {
		return err
	}
	return issuing.CheckAddToPool(c.Context, a.all, a.pool, *a.credentials, a.mode())
}

// newApp reads the App from the command line, and asks for what is missing.
func (cmd commands) newApp(c *cli.Context, a *addition) error {
	github, err := cmd.GitHub(c)
	if err != nil {
		return err
	}
	if github, err = issuing.GitHub(c.Context, a.all, github); err != nil {
		return err
	}
	if err := cmd.needsFlags(c); err != nil {
		return err
	}
	id, err := cmd.clientID(c)
	if err != nil {
		return err
	}
	key, err := cmd.givenKey(c)
	if err != nil {
		return err
	}
	a.credentials = &issuing.Credentials{ID: id, PrivateKey: key.pem, Signer: key.url, GitHub: github}
	a.keyFile = key.file
	a.app, err = issuing.NewApp(id, key, github)
	return err
}

// needsFlags returns one error that names every missing flag, if there is no terminal
// to ask at.
func (cmd commands) needsFlags(c *cli.Context) error {
	if !c.Bool("non-interactive") && cmd.CanAsk() {
		return nil
	}
	var missing []string
	if c.String("app-client-id") == "" {
		missing = append(missing, "--app-client-id")
	}
	if c.String("private-key-file") == "" && c.String("signer") == "" {
		missing = append(missing, "--private-key-file or --signer")
	}
	if len(missing) == 0 {
		return nil
	}
	return command.Usage(c, "missing: "+strings.Join(missing, ", and "))
}

// run asks GitHub for the installations and then writes: if a request fails, nothing
// was changed.
func (a *addition) run(ctx context.Context) (Discovery, error) {
	var one []issuing.AccountState
	if a.installation != 0 || a.account != "" {
		s, err := a.one(ctx)
		if err != nil {
			return Discovery{}, err
		}
		one = []issuing.AccountState{s}
	}
	if a.credentials != nil {
		if err := a.save(ctx); err != nil {
			return Discovery{}, err
		}
	}
	found, err := a.chooseInstallation(ctx, one)
	if err != nil && a.credentials != nil {
		err = usererr.Wrap("store the App's installations", err, "the App itself is stored; run gatepass app discover"+ofPool(a.pool))
	}
	return found, err
}

func (a *addition) save(ctx context.Context) error {
	if a.pool != "" {
		return issuing.AddToPool(ctx, a.all, a.pool, *a.credentials, a.mode())
	}
	return issuing.Save(ctx, a.store, *a.credentials, a.mode())
}

func (a *addition) chooseInstallation(ctx context.Context, one []issuing.AccountState) (Discovery, error) {
	may := issuing.Changes{Replace: a.force}
	if one == nil {
		return discover(ctx, a.store, a.app, may)
	}
	return Discovery{Installations: one}, issuing.ApplyChanges(ctx, a.store, one, may)
}

func (a *addition) mode() store.Mode {
	if a.force {
		return store.Replace
	}
	return store.CreateOnly
}

// one finds the installation that the command line names, and compares it with the
// store.
func (a *addition) one(ctx context.Context) (issuing.AccountState, error) {
	found, err := a.find(ctx)
	if err != nil {
		return issuing.AccountState{}, err
	}
	s, err := issuing.CompareOne(ctx, a.store, found)
	if err == nil && s.State == issuing.Changed && !a.force {
		err = &usererr.Error{
			Op: "add the installation on " + found.Account.Login, Reason: fmt.Sprintf("%s, but GitHub has %d", s.Note, found.ID),
			Hint: "add --force to replace it", Err: store.ErrExists,
		}
	}
	return s, err
}

func (a *addition) find(ctx context.Context) (mint.Installation, error) {
	if a.installation == 0 {
		return a.app.InstallationOf(ctx, a.account)
	}
	found, err := a.app.Installation(ctx, a.installation)
	if err == nil && a.account != "" && !strings.EqualFold(found.Account.Login, a.account) {
		err = usererr.New(fmt.Sprintf("add installation %d", a.installation), "it is on "+found.Account.Login+", not on "+a.account, "correct --account or --installation-id")
	}
	return found, err
}

// AddReport is the JSON of "app add".
type AddReport struct {
	KeyReport
	Store string `json:"store"`
	Discovery
}

func printAddition(out io.Writer, s command.Screen, a addition, r AddReport, install string) error {
	if a.credentials == nil {
		return r.print(out, s, false)
	}
	text := usererr.Escape
	fmt.Fprintf(out, "the App %s is set up\n", text(r.App.Name))
	_, err := io.WriteString(out, command.Pairs([][2]string{
		{"slug", r.App.Slug},
		{"owner", r.App.Owner},
		{"client ID", r.App.ClientID},
		{"key", r.Key.text() + ", " + keyPlace(a.credentials.Signer)},
		{"store", r.Store},
	}...))
	if err != nil {
		return err
	}
	if a.keyFile != "" {
		fmt.Fprintf(out, "delete %s: it is no longer needed\n", text(a.keyFile))
	}
	if len(r.Installations) == 0 {
		fmt.Fprintf(out, "it is not installed anywhere; install it: %s, then run gatepass app discover%s\n", text(install), ofPool(a.pool))
	}
	return r.print(out, s, false)
}

// A givenKey is the key of the command line, in the form that a store keeps: as PEM, or
// as the URL of the key.
type givenKey struct {
	issuing.Signer
	pem   store.Secret
	url   string
	file  string
	local *mint.KeySigner // the key of the file; nil if a URL is given
}

// givenKey opens the key of the command line. If there is none, it asks for the path of
// a file.
func (cmd commands) givenKey(c *cli.Context) (givenKey, error) {
	file, url := c.String("private-key-file"), c.String("signer")
	if file != "" && url != "" {
		return givenKey{}, command.Usage(c, "give either --private-key-file or --signer")
	}
	if url != "" {
		key, err := issuing.OpenSigner(url)
		return givenKey{Signer: key, url: url}, err
	}
	if file == "" {
		var err error
		if file, err = cmd.askFor(c, "path of the App's private key (PEM)", "give --private-key-file or --signer"); err != nil {
			return givenKey{}, err
		}
	}
	key, text, err := mint.ReadPEM(file)
	if err != nil {
		return givenKey{}, usererr.Wrap("read the App's key", err, "")
	}
	return givenKey{Signer: key, file: file, local: key, pem: store.NewSecret(string(text))}, nil
}

func (cmd commands) clientID(c *cli.Context) (string, error) {
	if id := c.String("app-client-id"); id != "" {
		return id, nil
	}
	return cmd.askFor(c, "client ID of the App", "--app-client-id is missing")
}

// askFor asks for a missing value, or returns a usage error if it cannot ask.
func (cmd commands) askFor(c *cli.Context, question, wrong string) (string, error) {
	if !c.Bool("non-interactive") && cmd.CanAsk() {
		return cmd.Asking.Ask(c.Context, question)
	}
	return "", command.Usage(c, wrong)
}

// text describes the key by its fingerprint, which people compare, and its size.
func (k keySummary) text() string {
	return fmt.Sprintf("%s (RSA, %d bits)", k.Fingerprint, k.Bits)
}

// keyPlace describes where a key is: at the URL of a signer, or in the store.
func keyPlace(signerURL string) string {
	if signerURL == "" {
		return "in the store"
	}
	return "at " + redact.Text(signerURL, command.MaxURL)
}
