package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"
)

// TestMain makes this test a program named gatepass that has only these commands.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatepass": func() {
		env := &command.Environment{Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(command.Execute(ctx, command.NewApp(env, []*cli.Command{Command(env)}), os.Args[1:]))
	}})
}
