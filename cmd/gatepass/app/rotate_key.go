package app

import (
	"context"
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

const appRotateKeyAbout = `Changes the key with which the store's App signs: to one that was created in the
App's settings ("Generate a private key"), or to the same one in another place.
The new key is checked at GitHub first. A key of another App changes nothing, and
if the store fails, the old key stays.

--private-key-file writes the key to the store. With --key-to it is imported into
a KMS instead, as gatepass app key import does, and checked there. --signer names
a key that is in a KMS already.

GitHub accepts several keys of an App at the same time. Delete the old one in the
App's settings when the new one is in use everywhere.

Examples:
  gatepass app rotate-key --private-key-file new.pem --dry-run
  gatepass app rotate-key --private-key-file new.pem
  gatepass app rotate-key --private-key-file new.pem --key-to 'awskms:///alias/gatepass-2?region=us-east-1'`

func (cmd commands) rotateKeyCommand() *cli.Command {
	return &cli.Command{
		Name:        "rotate-key",
		Usage:       "sign with another key of the App",
		UsageText:   "gatepass app rotate-key (--private-key-file PEM [--key-to URL] | --signer URL) [--dry-run] [--pool NAME] [--store URL] [--github-url URL] [--json]",
		Description: appRotateKeyAbout,
		Flags: command.IssuingFlags(
			privateKeyFlag(),
			&cli.StringFlag{Name: "signer", Usage: "the `URL` of a key that is in a KMS: awskms:///alias/NAME, gcpkms://projects/…/cryptoKeys/KEY, azurekeys://VAULTHOST/KEY or vault+transit://MOUNT/KEY"},
			&cli.StringFlag{Name: "key-to", Usage: "import the file into the KMS key of this `URL`"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "check the key, and change nothing", DisableDefaultText: true},
			command.PoolFlag(),
		),
		Action: cmd.rotateKey,
	}
}

// RotationReport is the JSON of "app rotate-key".
type RotationReport struct {
	App         appReport `json:"app"`
	Old         *keyAt    `json:"old,omitempty"` // nil if it cannot be read
	New         keyAt     `json:"new"`
	Changed     bool      `json:"changed"`
	DryRun      bool      `json:"dry_run"`
	SettingsURL string    `json:"settings_url"`

	unread error  // why Old is nil
	file   string // the file that the new key was read from, if any
}

// keyAt is a key and its place.
type keyAt struct {
	keySummary
	Signer string `json:"signer,omitempty"` // its URL; "" if the key is in the store
}

func (k keyAt) text() string { return k.keySummary.text() + ", " + keyPlace(k.Signer) }

// A rotation replaces the App's key with another one.
type rotation struct {
	store  store.Store
	app    *issuing.App // with the new key
	key    givenKey
	github string // of the store's App
	to     string // the KMS that the key is imported into; "" for none
	dryRun bool
}

func (cmd commands) rotateKey(c *cli.Context) error {
	if err := command.NoArguments(c); err != nil {
		return err
	}
	r, err := cmd.rotation(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, 2*importWait)
	defer cancel()
	report, err := r.run(ctx)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return command.WriteJSON(cmd.Stdout, report)
	}
	_, err = fmt.Fprint(cmd.Stdout, report.String())
	return err
}

// rotation reads the command line and the store. The current key may be unreadable:
// that is one reason to rotate.
func (cmd commands) rotation(c *cli.Context) (*rotation, error) {
	file, to := c.String("private-key-file"), c.String("key-to")
	if file == "" && (to != "" || c.String("signer") == "") {
		return nil, command.Usage(c, "give --private-key-file or --signer; --key-to needs --private-key-file")
	}
	named, err := cmd.GitHub(c)
	if err != nil {
		return nil, err
	}
	s, err := cmd.AppStore(c)
	if err != nil {
		return nil, err
	}
	id, err := issuing.LoadID(c.Context, s)
	if err != nil {
		return nil, err
	}
	github, err := issuing.GitHub(c.Context, s, "")
	if err != nil {
		return nil, err
	}
	key, err := cmd.givenKey(c)
	if err != nil {
		return nil, err
	}
	if named == "" {
		named = github
	}
	app, err := issuing.NewApp(id, key, named)
	if err != nil {
		return nil, err
	}
	return &rotation{s, app, key, github, to, c.Bool("dry-run")}, nil
}

func (r *rotation) run(ctx context.Context) (RotationReport, error) {
	target, err := r.target()
	if err != nil {
		return RotationReport{}, err
	}
	proof, err := r.app.Prove(ctx)
	if err != nil {
		return RotationReport{}, err
	}
	report := RotationReport{
		App: newAppReport(proof.App), DryRun: r.dryRun, SettingsURL: issuing.SettingsURL(r.app.GitHub, proof.App),
		New: keyAt{summarize(proof.Key), redact.Text(r.signerURL(), command.MaxURL)}, file: r.key.file,
	}
	report.Old, report.unread = r.old(ctx)
	report.Changed = report.Old == nil || *report.Old != report.New
	if r.dryRun || !report.Changed {
		return report, nil
	}
	if target != nil {
		if err := r.move(ctx, target); err != nil {
			return RotationReport{}, err
		}
	}
	credentials := issuing.Credentials{ID: r.app.ID, Signer: r.signerURL(), GitHub: r.github}
	if credentials.Signer == "" {
		credentials.PrivateKey = r.key.pem
	}
	return report, issuing.Save(ctx, r.store, credentials, store.Replace)
}

// signerURL is the URL of the new key; "" for the store.
func (r *rotation) signerURL() string {
	if r.to != "" {
		return r.to
	}
	return r.key.url
}

// old returns the key that the store has now, or why it cannot be read.
func (r *rotation) old(ctx context.Context) (*keyAt, error) {
	url, err := issuing.SignerURL(ctx, r.store)
	if err != nil {
		return nil, err
	}
	key, err := issuing.LoadKey(ctx, r.store)
	if err != nil {
		return nil, err
	}
	public, err := key.PublicKey(ctx)
	if err != nil {
		return nil, err
	}
	return &keyAt{summarize(public), redact.Text(url, command.MaxURL)}, nil
}

// target opens the KMS that the key is imported into, if any.
func (r *rotation) target() (issuing.Signer, error) {
	if r.to == "" {
		return nil, nil
	}
	kms, err := issuing.OpenSigner(r.to)
	if err != nil {
		return nil, err
	}
	if _, ok := kms.(importer); !ok {
		return nil, usererr.New("import the key", "a key can be imported only into awskms:// or vault+transit://", "correct --key-to")
	}
	return kms, nil
}

// move imports the key, and proves that GitHub accepts signatures of the KMS.
func (r *rotation) move(ctx context.Context, kms issuing.Signer) error {
	if err := kms.(importer).Import(ctx, r.key.local); err != nil {
		return err
	}
	there, err := issuing.NewApp(r.app.ID, kms, r.app.GitHub)
	if err != nil {
		return err
	}
	_, err = there.Prove(ctx)
	return err
}

func (r RotationReport) String() string {
	var b strings.Builder
	text := usererr.Escape
	name := text(r.App.Name)
	switch {
	case !r.Changed:
		fmt.Fprintf(&b, "the App %s signs with this key already; nothing was changed\n  key  %s\n", name, text(r.New.text()))
		return b.String()
	case r.DryRun:
		fmt.Fprintf(&b, "the key belongs to the App %s; nothing was changed\n", name)
	default:
		fmt.Fprintf(&b, "the App %s signs with the new key\n", name)
	}
	old := "cannot be read: " + fmt.Sprint(r.unread)
	if r.Old != nil {
		old = r.Old.text()
	}
	fmt.Fprintf(&b, "  old  %s\n  new  %s\n", text(old), text(r.New.text()))
	if !r.DryRun && r.Old != nil && r.Old.Fingerprint != r.New.Fingerprint {
		fmt.Fprintf(&b, "when the new key is in use everywhere, delete the old one in the App's settings: %s\n", text(r.SettingsURL))
	}
	if !r.DryRun && r.file != "" {
		fmt.Fprintf(&b, "delete %s: it is no longer needed\n", text(r.file))
	}
	return b.String()
}
