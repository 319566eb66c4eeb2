//go:build linux

// Command components sets up the real components that tests run against (gits of three
// ages, an AWS emulator, a Vault, a Kubernetes API server, PostgreSQL, tools of Debian)
// and runs the tests that need them. "make test-real" runs it.
//
// Everything is set up once, in ${XDG_CACHE_HOME:-~/.cache}/gatepass-test; remove that
// folder to get newer versions. To add a component, write a type with the methods of
// [Component] in its own file, and add a line to machine.components. The table in
// suites.go says which packages need which components.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/gatepass/gatepass/internal/usererr"
)

const usage = `usage: components [test [PACKAGE...]]         set up what is missing and run the tests,
                                              or only those of packages of
                                              suites.go, as in: test ./cmd
       components setup                       set up what is missing
       components list                        say what is there
       components shell NAME -- COMMAND...    run a command under another git
                                              (git-newest or git-middle), with
                                              ./bin seen at /gatepass

Runs on Linux; chroots need root and a Debian with apt.
With CI=true a missing component is a failure, otherwise it is only counted.
`

func main() {
	endWithParent()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run returns the exit code: 0 for success, 1 for a failure, 2 for a usage error; for
// shell, that of the command.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	c, err := userCache()
	if err != nil {
		fmt.Fprint(stderr, usererr.Line(err))
		return 1
	}
	m := machine{cache: c, ci: getenv("CI") == "true", stdin: stdin, stdout: stdout, stderr: stderr}
	code, err := m.do(ctx, args)
	if err != nil {
		fmt.Fprint(stderr, usererr.Line(err))
	}
	return code
}

func (m machine) do(ctx context.Context, args []string) (code int, err error) {
	verb := "test"
	if len(args) > 0 {
		verb = args[0]
	}
	switch {
	case verb == "shell" && len(args) > 3 && args[2] == "--":
		return m.shell(ctx, args[1], args[3:])
	case verb == "list" && len(args) == 1:
		return m.list(ctx)
	case verb == "setup" && len(args) == 1:
		return m.setup(ctx)
	case verb == "test":
		return m.test(ctx, args[min(1, len(args)):])
	}
	fmt.Fprint(m.stderr, usage)
	return 2, nil
}
