package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/install"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/urfave/cli/v2"
)

const (
	installUsage = "gatepass install [--global | --system | --root DIR] [--dry-run]"

	installAbout = `Tells git to ask gatepass for credentials of your GitHub hosts, and to run
the push guard. Without an option, for you alone (--global).

Nothing of yours is overwritten: what gatepass needs goes to the end of
the configuration file, and "gatepass uninstall" takes it out again.
Running it twice is the same as running it once.

Examples:
  gatepass install --dry-run            see what would be written
  gatepass install                      for yourself: ~/.gitconfig
  sudo gatepass install --system        for everyone on this machine
  gatepass install --root ./rootfs      into the files of a container image
  gatepass install --host github.com --host ghe.example.com:8443

The push guard: git 2.54 and later get a configured hook (hook.gatepass);
older git gets core.hooksPath with hooks that run the repository's own
ones as well, and a core.hooksPath you had is kept behind it. Where both
ages of git read one file, or the age is not known, both are written.`
)

func (w *world) installCommand() *cli.Command {
	return &cli.Command{
		Name:        "install",
		Usage:       "make git ask gatepass for credentials and run the push guard",
		UsageText:   installUsage,
		Description: installAbout,
		Flags: append(scopeFlags(),
			&cli.StringSliceFlag{Name: "host", Usage: "a `HOST[:PORT]` to answer for, instead of the workspace file's; may be repeated"},
			&cli.StringFlag{Name: "bin-dir", Usage: "the `DIR` that holds the gatepass binaries (in an image: as seen inside)"},
			&cli.StringFlag{Name: "guard", Value: string(install.GuardAuto), Usage: "`HOW` git runs the guard: auto, hook, hooks-path, both or none"},
		),
		Action: func(c *cli.Context) error { return w.change(c, install.New) },
	}
}

// scopeFlags are those that install and uninstall share.
func scopeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "global", Usage: "for the current user (the default)", DisableDefaultText: true},
		&cli.BoolFlag{Name: "system", Usage: "for all users of this machine", DisableDefaultText: true},
		&cli.StringFlag{Name: "root", Usage: "in the image whose files are under `DIR`; nothing outside is touched"},
		&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show what would be written, and write nothing", DisableDefaultText: true},
		jsonFlag(),
	}
}

// change makes a plan, applies it unless this is a dry run, and shows it.
func (w *world) change(c *cli.Context, planned planner) error {
	o, err := w.installOptions(c)
	if err != nil {
		return err
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
		return writeJSON(w.stdout, plan)
	case dry:
		return w.showDry(plan)
	}
	_, err = fmt.Fprint(w.stdout, report(plan))
	return err
}

func (w *world) installOptions(c *cli.Context) (install.Options, error) {
	o := install.Options{
		Scope: install.Global, Root: c.String("root"), BinDir: c.String("bin-dir"),
		Guard: install.Guard(c.String("guard")), Getenv: w.getenv, Executable: executable(),
	}
	if err := noArguments(c); err != nil {
		return o, err
	}
	switch {
	case c.Bool("global") && (c.Bool("system") || c.IsSet("root")):
		return o, usage(c, "--global goes with neither --system nor --root")
	case c.IsSet("root") && o.Root == "":
		return o, usage(c, "--root needs a directory")
	case c.IsSet("root"):
		o.Scope = install.Image
	case c.Bool("system"):
		o.Scope = install.System
	}
	if o.Guard != "" && !slices.Contains(install.Guards(), o.Guard) {
		return o, usage(c, fmt.Sprintf("--guard %q is none of auto, hook, hooks-path, both and none", o.Guard))
	}
	for _, h := range c.StringSlice("host") {
		o.Hosts = append(o.Hosts, strings.TrimSpace(h))
	}
	return o, nil
}

// executable is the path of this program as it was started, so that a link
// that outlives upgrades is what git is told; or else what the system says.
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

func (w *world) showDry(plan *install.Plan) error {
	if plan.Empty() {
		_, err := fmt.Fprint(w.stdout, report(plan))
		return err
	}
	if err := plan.WriteDiff(w.stdout); err != nil {
		return err
	}
	_, err := fmt.Fprint(w.stdout, remarks(plan))
	return err
}

// report says what was done.
func report(plan *install.Plan) string {
	var b strings.Builder
	for _, f := range plan.Files {
		fmt.Fprintf(&b, "%s %s\n", map[string]string{"create": "created", "edit": "changed", "remove": "removed"}[f.Change], oneline.Escape(f.Path))
	}
	for _, s := range plan.Hooks {
		for _, part := range []struct {
			done  string
			names []string
		}{{"created", s.Create}, {"replaced", s.Replace}, {"removed", s.Remove}} {
			if len(part.names) > 0 {
				fmt.Fprintf(&b, "%s %d hooks in %s\n", part.done, len(part.names), oneline.Escape(s.Dir))
			}
		}
	}
	if plan.Empty() {
		fmt.Fprintf(&b, "nothing to do: %s\n", map[string]string{"install": "already installed", "uninstall": "not installed"}[plan.Action])
	}
	return b.String() + remarks(plan)
}

// remarks says why it is as it is.
func remarks(plan *install.Plan) string {
	var b strings.Builder
	for _, c := range plan.Guard {
		fmt.Fprintf(&b, "guard: %s: %s\n", c.Kind, oneline.Escape(c.Why))
	}
	for _, n := range plan.Notes {
		fmt.Fprintf(&b, "note: %s\n", oneline.Escape(n))
	}
	return b.String()
}
