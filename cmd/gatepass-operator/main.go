// Command gatepass-operator keeps Kubernetes Secrets filled with fresh GitHub tokens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
	"github.com/gatepass/gatepass/operator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run returns the exit code: 0 done, 1 failed, 2 usage.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == "--version" {
		fmt.Fprintln(stdout, "gatepass-operator", version.String())
		return 0
	}
	options, err := operator.ParseOptions(args, getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		operator.WriteUsage(stdout)
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "gatepass-operator:", usererr.Escape(err.Error()))
		return 2
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(25) // most of the memory is caches, which change little
	}
	log := slog.New(slog.NewJSONHandler(usererr.JSONWriter(stderr), nil))
	if err := operator.Run(ctx, options, getenv, log); err != nil {
		fmt.Fprintln(stderr, "gatepass-operator:", usererr.Escape(err.Error()))
		return 1
	}
	return 0
}
