// Command gatepass-pre-push is a git hook. It allows a push only to the refs that the
// workspace file allows, and then runs the repository's own hook.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/internal/usererr"
)

const usage = `usage: gatepass-pre-push [--configured] REMOTE URL    (git calls it, as its pre-push hook)
       gatepass-pre-push --hook NAME [ARGUMENT...]     (as another hook)
       gatepass-pre-push --version

Refuses a push to refs that the workspace file does not allow, and to hosts that
it does not list (unless its key elsewhere allows them). Otherwise it runs the
repository's own hook with the same arguments and standard input. It does not check
a push to a path on this machine.
The file is the one in GATEPASS_CONFIG, else /etc/gatepass/workspace.yaml, else
~/.config/gatepass/workspace.yaml. It must belong to root or to you, and no other
user may be able to write to it.
If its source is a broker and gatepass-agent runs, the refused refs are reported to
the broker's operators.

  --hook NAME    run as the hook NAME; all but pre-push only run the repository's own
  --configured   called by git's own hook.<name>.command (git 2.54 and later):
                 do not run the repository's hook, git runs it

Exit codes: 0 the push is allowed, 1 it is refused, 2 wrong usage; else the exit
code of the repository's hook.
`

// version is set by the linker; after "go install" it is empty, and the build
// information has the version.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args, os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run takes all of os.Args: under the name of a hook, the program is that hook.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	c, err := parse(args)
	switch {
	case err != nil:
		fmt.Fprint(stderr, usererr.Line(err)+usage)
		return 2
	case c.help:
		fmt.Fprint(stdout, usage)
		return 0
	case c.version:
		fmt.Fprintln(stdout, "gatepass-pre-push", buildVersion())
		return 0
	}
	c.getenv = getenv
	if c.linked {
		return runOwn(args, stderr)
	}
	hook := hooks.Hook{Event: c.event, Args: c.args, Stdin: stdin, Stdout: stdout, Stderr: stderr}
	if c.event == hooks.PrePush {
		return c.guard(ctx, hook)
	}
	return c.chain(ctx, hook, nil)
}

// A call holds the parsed arguments.
type call struct {
	event         string
	args          []string // the hook's
	configured    bool
	shim          bool // called by the script that replaces a hook
	linked        bool // called by a link with the hook's name
	help, version bool
	getenv        func(string) string
}

// parse reads our own options, which come before the hook's arguments.
func parse(args []string) (call, error) {
	c := call{event: hooks.PrePush}
	if len(args) == 0 {
		return c, usageError("no program name")
	}
	if name := filepath.Base(args[0]); hooks.IsShimmed(name) {
		// args[0] is a symbolic link. Git's arguments may look like options: pre-rebase
		// is given "--root".
		c.event, c.args, c.linked = name, args[1:], name != hooks.PrePush
		return c, c.check()
	}
	for args = args[1:]; len(args) > 0 && strings.HasPrefix(args[0], "--"); args = args[1:] {
		switch {
		case args[0] == "--hook" && len(args) > 1:
			c.event, args = args[1], args[1:]
			c.args, c.shim = args[1:], true
			return c, c.check()
		case args[0] == "--configured":
			c.configured = true
		case args[0] == "--help":
			c.help = true
			return c, nil
		case args[0] == "--version":
			c.version = true
			return c, nil
		default:
			return c, usageError(fmt.Sprintf("unknown option %s", args[0]))
		}
	}
	c.args = args
	return c, c.check()
}

// check refuses a mistyped hook name, which would otherwise skip the guard and only
// chain.
func (c call) check() error {
	if !hooks.IsShimmed(c.event) {
		return usageError(fmt.Sprintf("%q is not a hook with a shim", c.event))
	}
	if c.event == hooks.PrePush && len(c.args) != 2 {
		return usageError(fmt.Sprintf("a pre-push hook needs two arguments, REMOTE and URL, not %d", len(c.args)))
	}
	return nil
}

type usageError string

func (e usageError) Error() string { return string(e) }

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}
