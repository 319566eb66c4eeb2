package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/install"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

const (
	installUsage = "gatepass install [--global | --system | --root DIR] [--dry-run]"

	installAbout = `Configures git to ask gatepass for credentials of your GitHub hosts, and to run
the push guard. Without an option, only for you (--global).

The workspace file must exist first: without it, every push would be denied.
For an image that mounts it later, use --policy-later.

Your settings are not overwritten: gatepass writes its lines at the end of
the configuration file, and "gatepass uninstall" removes them. To run install
twice has the same effect as once.

Examples:
  gatepass install --dry-run            see what would be written
  gatepass install                      for yourself: ~/.gitconfig
  sudo gatepass install --system        for everyone on this machine
  gatepass install --root ./rootfs      into the files of a container image
  gatepass install --host github.com --host ghe.example.com:8443
  gatepass install --gateway https://broker.example --gateway-ca ca.pem
  gatepass install --root ./rootfs --from ./bin --workspace-file workspace.yaml

With gateway: URL in the workspace file, or with --gateway URL, git goes through
the broker's gateway for the repositories of your GitHub hosts, for all forms of
their URLs. It asks gatepass for sessions there, and no GitHub token is on this
machine. docs/gateway.md says what that enforces.

With --from, install also copies the programs, as install.sh does for images. It
runs only the gits on PATH, and no program below --root.

Links of another user are not followed, in any scope.

The push guard: git 2.54 and later get a configured hook (hook.gatepass). Older
git gets core.hooksPath with hooks that also run the repository's own hooks, and
those of your former core.hooksPath; run install again after you change that one.
If both kinds of git read one file, or the version is unknown, both are written.`
)

// installCommands are "gatepass install" and "gatepass uninstall".
type installCommands struct{ *command.Environment }

func (cmd installCommands) installCommand() *cli.Command {
	return &cli.Command{
		Name:        "install",
		Usage:       "make git ask gatepass for credentials and run the push guard",
		UsageText:   installUsage,
		Description: installAbout,
		Flags: append(scopeFlags(),
			&cli.StringSliceFlag{Name: "host", Usage: "a GitHub `HOST[:PORT]`, instead of the workspace file's hosts; may be repeated"},
			&cli.StringFlag{Name: "gateway", Usage: "let git go through the broker's gateway at `URL`, as with gateway: URL in the workspace file"},
			&cli.StringFlag{Name: "gateway-ca", Usage: "trust the certificates in `FILE` for the gateway (in an image: its path inside)"},
			&cli.BoolFlag{Name: "policy-later", Usage: "allow a missing workspace file, for an image that mounts it later", DisableDefaultText: true},
			&cli.StringFlag{Name: "bin-dir", Usage: "the `DIR` of the gatepass binaries (in an image: its path inside)"},
			&cli.StringFlag{Name: "from", Usage: "also copy the programs from `DIR`, and verify the install with two pushes; for --system and --root"},
			&cli.StringFlag{Name: "prefix", Value: install.DefaultPrefix, Usage: "with --from: copy the programs to `DIR`/bin"},
			&cli.StringFlag{Name: "workspace-file", Usage: "with --from: copy `FILE` to " + config.DefaultPath},
			&cli.BoolFlag{Name: "no-verify-install", Usage: "with --from: do not push to a temporary repository at the end", DisableDefaultText: true},
			&cli.BoolFlag{Name: "run-gits", Usage: "with --from and --system: also run gits that are not on PATH, to find each one's configuration and to verify it", DisableDefaultText: true},
			&cli.StringFlag{Name: "guard", Value: string(install.GuardAuto), Usage: "`HOW` git runs the guard: auto, hook, hooks-path, both or none"},
		),
		Action: func(c *cli.Context) error { return cmd.change(c, install.New) },
	}
}

// scopeFlags are the options that install and uninstall share.
func scopeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "global", Usage: "for the current user (the default)", DisableDefaultText: true},
		&cli.BoolFlag{Name: "system", Usage: "for all users of this machine", DisableDefaultText: true},
		&cli.StringFlag{Name: "root", Usage: "in the image whose files are below `DIR`; no other file is changed"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show the changes, and write nothing", DisableDefaultText: true},
		command.JSONFlag(),
	}
}

// change makes a plan, applies it unless this is a dry run, and prints it.
func (cmd installCommands) change(c *cli.Context, planned planner) error {
	o, err := cmd.options(c)
	if err != nil {
		return err
	}
	if o.From != "" {
		defer install.KeepTime(os.TempDir())()
	}
	plan, err := planned(c.Context, o)
	if err != nil {
		return err
	}
	dry := c.Bool("dry-run")
	if !dry {
		if err := plan.Apply(); err != nil {
			return err
		}
	}
	switch {
	case c.Bool("json"):
		err = command.WriteJSON(cmd.Stdout, plan)
	case dry:
		err = showDry(cmd.Stdout, plan)
	default:
		_, err = fmt.Fprint(cmd.Stdout, report(plan))
	}
	if err != nil || dry || o.From == "" || c.Bool("no-verify-install") {
		return err
	}
	return verify(cmd.Stdout, c, plan, o)
}

func verify(out io.Writer, c *cli.Context, plan *install.Plan, o install.Options) error {
	gits, err := plan.Verify(c.Context, o, os.Environ())
	for _, git := range gits {
		if !c.Bool("json") {
			fmt.Fprintf(out, "verified with %s: an allowed push succeeds, another push is refused\n", usererr.Escape(git))
		}
	}
	return err
}

func (cmd installCommands) options(c *cli.Context) (install.Options, error) {
	o := install.Options{
		Scope: install.Global, Root: c.String("root"), BinDir: c.String("bin-dir"),
		Guard: install.Guard(c.String("guard")), Getenv: cmd.Getenv, Executable: executable(),
		From: c.String("from"), Prefix: c.String("prefix"), WorkspaceFile: c.String("workspace-file"), RunGits: c.Bool("run-gits"),
		PolicyLater: c.Bool("policy-later"), Gateway: c.String("gateway"), GatewayCA: c.String("gateway-ca"),
	}
	o.Author = func(ctx context.Context, through *config.Workspace) (string, error) {
		return cmd.author(ctx, through, o.Scope)
	}
	if err := command.NoArguments(c); err != nil {
		return o, err
	}
	switch {
	case c.Bool("global") && (c.Bool("system") || c.IsSet("root")):
		return o, command.Usage(c, "--global cannot be combined with --system or --root")
	case c.IsSet("root") && o.Root == "":
		return o, command.Usage(c, "--root needs a directory")
	case c.IsSet("root"):
		o.Scope = install.Image
	case c.Bool("system"):
		o.Scope = install.System
	}
	if err := bundleOptions(c, &o); err != nil {
		return o, err
	}
	if err := gatewayOptions(c, &o); err != nil {
		return o, err
	}
	if o.Guard != "" && !slices.Contains(install.Guards(), o.Guard) {
		return o, command.Usage(c, fmt.Sprintf("--guard %q must be one of auto, hook, hooks-path, both, none", o.Guard))
	}
	for _, h := range c.StringSlice("host") {
		o.Hosts = append(o.Hosts, strings.TrimSpace(h))
	}
	return o, nil
}

// author asks the workspace's gateway for the author of commits. If the identity file
// does not exist yet, as in an image build, it does not wait. A join token works only
// once, so it is left for the agent of the user who works in the workspace.
func (cmd installCommands) author(ctx context.Context, through *config.Workspace, scope install.Scope) (string, error) {
	if source := through.Source; source != nil {
		query := source.Query()
		if query.Has("join_token_file") && scope != install.Global {
			return "", errors.New("a join token is for the user who works in the workspace")
		}
		if file := query.Get("identity_file"); file != "" && !strings.Contains(file, "{") {
			if _, err := os.Stat(file); err != nil {
				return "", fmt.Errorf("identity_file %s: %w", file, withoutPath(err))
			}
		}
	}
	grant, err := cmd.RequestSession(ctx, through, "", "")
	return grant.Author, err
}

// gatewayOptions checks the options of a gateway.
func gatewayOptions(c *cli.Context, o *install.Options) (err error) {
	for _, name := range []string{"gateway", "gateway-ca"} {
		if c.IsSet(name) && c.String(name) == "" {
			return command.Usage(c, "--"+name+" needs a value")
		}
	}
	if o.GatewayCA == "" || o.Scope == install.Image {
		return nil
	}
	if o.GatewayCA, err = filepath.Abs(o.GatewayCA); err != nil {
		return err
	}
	if _, err := os.Stat(o.GatewayCA); err != nil {
		return usererr.Wrap("use --gateway-ca "+o.GatewayCA, withoutPath(err), "name a file of certificates in PEM form")
	}
	return nil
}

// bundleOptions checks the options that need --from.
func bundleOptions(c *cli.Context, o *install.Options) (err error) {
	for _, name := range []string{"prefix", "workspace-file", "no-verify-install", "run-gits"} {
		if c.IsSet(name) && o.From == "" {
			return command.Usage(c, "--"+name+" needs --from")
		}
	}
	switch {
	case c.IsSet("from") && o.From == "":
		return command.Usage(c, "--from needs a directory")
	case o.From != "" && o.Scope == install.Global:
		return command.Usage(c, "--from needs --system or --root")
	case o.RunGits && o.Scope == install.Image:
		return command.Usage(c, "--run-gits needs --system: gatepass runs no program of an image")
	case o.From != "":
		o.From, err = filepath.Abs(o.From)
	}
	return err
}

// executable returns the path by which this program was started, so that git is
// configured with a link that outlives upgrades; or else the path that the system
// reports.
func executable() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	started, err := exec.LookPath(os.Args[0])
	if err != nil {
		return path
	}
	if started, err = filepath.Abs(started); err != nil || !sameFile(started, path) {
		return path
	}
	return started
}

func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

func showDry(out io.Writer, plan *install.Plan) error {
	if plan.Empty() {
		_, err := fmt.Fprint(out, report(plan))
		return err
	}
	if err := plan.WriteDiff(out); err != nil {
		return err
	}
	_, err := fmt.Fprint(out, planNotes(plan))
	return err
}

// report describes what was done.
func report(plan *install.Plan) string {
	var b strings.Builder
	for _, f := range plan.Files {
		fmt.Fprintf(&b, "%s %s\n", map[string]string{"create": "created", "edit": "changed", "remove": "removed"}[f.Change], usererr.Escape(f.Path))
	}
	for _, s := range plan.Hooks {
		for _, part := range []struct {
			done  string
			names []string
		}{{"created", s.Create}, {"replaced", s.Replace}, {"removed", s.Remove}} {
			if len(part.names) > 0 {
				fmt.Fprintf(&b, "%s %d hooks in %s\n", part.done, len(part.names), usererr.Escape(s.Dir))
			}
		}
	}
	for _, c := range plan.Copies {
		fmt.Fprintf(&b, "%s %s\n", map[string]string{"create": "created", "replace": "replaced", "remove": "removed"}[c.Change], usererr.Escape(c.Path))
	}
	if plan.Empty() {
		fmt.Fprintf(&b, "nothing to do: %s\n", map[string]string{"install": "already installed", "uninstall": "not installed"}[plan.Action])
	}
	return b.String() + planNotes(plan)
}

// planNotes returns the lines about the guard, and the notes of the plan.
func planNotes(plan *install.Plan) string {
	var b strings.Builder
	for _, c := range plan.Guard {
		fmt.Fprintf(&b, "guard: %s: %s\n", c.Kind, usererr.Escape(c.Why))
	}
	for _, n := range plan.Notes {
		fmt.Fprintf(&b, "note: %s\n", usererr.Escape(n))
	}
	return b.String()
}

const uninstallAbout = `Removes what "gatepass install" wrote, in the same scope: the lines in the
configuration file, the hooks that belong to gatepass, the programs and other
files of install --from, and the directories that install created if they are
empty. Everything else is kept, including your own variables in the section
gatepass. Without an option, only for you (--global).

A running agent keeps its tokens in memory until it is idle; "gatepass agent stop"
ends those of your user.

Examples:
  gatepass uninstall --dry-run
  sudo gatepass uninstall --system`

// A planner is install.New or install.Removal.
type planner func(context.Context, install.Options) (*install.Plan, error)

func (cmd installCommands) uninstallCommand() *cli.Command {
	return &cli.Command{
		Name:        "uninstall",
		Usage:       "remove what install wrote",
		UsageText:   "gatepass uninstall [--global | --system | --root DIR] [--dry-run]",
		Description: uninstallAbout,
		Flags:       scopeFlags(),
		Action:      cmd.uninstall,
	}
}

func (cmd installCommands) uninstall(c *cli.Context) error {
	if err := cmd.change(c, install.Removal); err != nil || c.Bool("dry-run") || c.String("root") != "" {
		return err
	}
	// An agent is not stopped: another installation or workspace file may use it, and a
	// session that it got for a join token is nowhere else.
	if running, _ := runningAgents(cmd.Getenv); len(running.Agents) > 0 {
		cmd.Note("an agent still runs and has tokens in memory until it is idle; to end it now: gatepass agent stop")
	}
	return nil
}
