package workspace

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/operator/migrate"
	"github.com/urfave/cli/v2"
)

const (
	migrateAbout = `Moves from another system for GitHub tokens: sandboxes of km, or a cluster with
github-token-manager.`

	migrateGTMAbout = `With files: prints their manifests for gatepass-operator, with comments. An
absent list becomes allRepositories or allPermissions. Notes for a person go to
standard error. - is standard input.

Without files: creates the new object for each old one in the cluster, and takes
over its Secret in one write, so that no reader is without a token. If no
TenantPolicy permits an object's token, the object is not changed, and a policy
that permits it is printed. You can run it again at any time.

--undo gives the Secrets back: start github-token-manager while it waits.

In this order:
  gatepass migrate github-token-manager --dry-run   says what to do first
  kubectl -n NAMESPACE scale deployment/NAME --replicas=0
  gatepass migrate github-token-manager             and then lists the remaining steps

Examples:
  gatepass migrate github-token-manager tokens.yaml >tokens-gatepass.yaml
  kustomize build . | gatepass migrate github-token-manager -`

	// maxManifest is the largest file of manifests, in bytes.
	maxManifest = 64 << 20
)

// migrateCommands are the commands of "gatepass migrate".
type migrateCommands struct{ *command.Environment }

// MigrateCommand is "gatepass migrate".
func MigrateCommand(env *command.Environment) *cli.Command {
	cmd := migrateCommands{env}
	return &cli.Command{
		Name:        "migrate",
		Usage:       "move from another system for tokens: km, github-token-manager",
		UsageText:   "gatepass migrate km [PROFILE]\ngatepass migrate github-token-manager [FILE]...",
		Description: migrateAbout,
		Subcommands: []*cli.Command{commands(cmd).migrateKMCommand(), {
			Name: "github-token-manager", Usage: "move from github-token-manager",
			UsageText:   "gatepass migrate github-token-manager [--dry-run] [--undo] [--wait DURATION] [--kubeconfig FILE]\ngatepass migrate github-token-manager FILE...",
			Description: migrateGTMAbout,
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "dry-run", Usage: "change nothing, and say what would be done", DisableDefaultText: true},
				&cli.BoolFlag{Name: "undo", Usage: "give all Secrets back to github-token-manager", DisableDefaultText: true},
				&cli.DurationFlag{Name: "wait", Value: 5 * time.Minute, Usage: "the `DURATION` that --undo waits for github-token-manager to write its tokens"},
				&cli.StringFlag{Name: "kubeconfig", Usage: "the cluster's kubeconfig `FILE`; default is KUBECONFIG, then ~/.kube/config", TakesFile: true},
			},
			Action: cmd.githubTokenManager,
		}},
	}
}

func (cmd migrateCommands) githubTokenManager(c *cli.Context) error {
	if c.NArg() > 0 {
		if c.Bool("undo") || c.IsSet("kubeconfig") || c.IsSet("wait") {
			return command.Usage(c, "--undo, --wait and --kubeconfig are for a cluster: leave them or the files out")
		}
		return cmd.rewrite(c.Args().Slice())
	}
	client, err := migrate.Connect(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	move := migrate.Move{Client: client, Out: cmd.Stdout, DryRun: c.Bool("dry-run"), Wait: c.Duration("wait")}
	if c.Bool("undo") {
		return move.Undo(c.Context)
	}
	return move.Run(c.Context)
}

// rewrite prints the manifests of all files, or nothing.
func (cmd migrateCommands) rewrite(paths []string) error {
	var all []byte
	var errs []error
	for _, path := range paths {
		text, err := cmd.manifests(path)
		if err != nil {
			return err
		}
		if path == "-" {
			path = "standard input"
		}
		out, notes, err := migrate.Rewrite(path, text)
		for _, note := range notes {
			if _, err := io.WriteString(cmd.Stderr, usererr.Line(errors.New(note))); err != nil {
				return err
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
		if len(all) > 0 {
			all = append(bytes.TrimSuffix(all, []byte("\n")), "\n---\n"...)
		}
		all = append(all, out...)
	}
	if errs != nil {
		return usererr.Join(errs...)
	}
	_, err := cmd.Stdout.Write(all)
	return err
}

// manifests reads a file, or standard input if the path is "-".
func (cmd migrateCommands) manifests(path string) ([]byte, error) {
	from := cmd.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, usererr.Wrap("read "+path, underlying(err), "")
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxManifest+1))
	switch {
	case err != nil:
		return nil, usererr.Wrap("read "+path, underlying(err), "")
	case len(text) > maxManifest:
		return nil, usererr.New("read "+path, "it is over 64 MiB", "split it")
	}
	return text, nil
}

// underlying is the error of a file without its path.
func underlying(err error) error {
	if failed, is := errors.AsType[*os.PathError](err); is {
		return failed.Err
	}
	return err
}
