package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/broker/console"
	"github.com/gatepass/gatepass/broker/keyset"
	"github.com/gatepass/gatepass/broker/rules"
	"github.com/gatepass/gatepass/broker/settings"
	"github.com/gatepass/gatepass/cmd/internal/issuing"
	"github.com/gatepass/gatepass/internal/certificate"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/internal/version"
	"github.com/gatepass/gatepass/store"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// program is the name of this program, for messages and telemetry.
const program = "gatepass-broker"

// options are the command line.
type options struct {
	config         string
	check, version bool
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.config, "config", settings.DefaultPath, "")
	f.BoolVar(&o.check, "check", false, "")
	f.BoolVar(&o.version, "version", false, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("it takes no argument %q", f.Arg(0))
	}
	return o, nil
}

// run is the program without the process around it. It returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return exitDone
	case err != nil:
		_, _ = io.WriteString(stderr, oneline.Line(oneline.Wrap("read the command line", err, "see gatepass-broker --help")))
		return exitUsage
	case o.version:
		_, _ = io.WriteString(stdout, program+" "+version.String()+"\n")
		return exitDone
	case o.check:
		err = check(o.config, getenv, stdout)
	default:
		err = serve(ctx, o.config, getenv, stderr, signals)
	}
	if err != nil {
		_, _ = io.WriteString(stderr, oneline.Line(err))
		return exitFailed
	}
	return exitDone
}

// check reads everything that a start reads, and asks and writes nothing.
func check(path string, getenv func(string) string, stdout io.Writer) error {
	f, err := settings.Load(path)
	if err != nil {
		return err
	}
	known := new(settings.Identifiers)
	s, err := issuing.OpenStore(storeURL(f, getenv))
	bad := []error{err}
	if err == nil {
		known.Keys = &keyset.Set{Store: s}
	}
	_, err = f.Policy(known)
	bad = append(bad, err, ambiguous(f))
	if needsTLS(f) {
		_, err = certificate.Load(f.TLS.CertFile, f.TLS.KeyFile)
		bad = append(bad, err)
	}
	if info, err := os.Stat(filepath.Dir(f.Audit.File)); err != nil || !info.IsDir() {
		bad = append(bad, oneline.New("audit "+f.Audit.File, "its folder is not there", "make it"))
	} else {
		bad = append(bad, audit.Check(f.Audit.File))
	}
	bad = append(bad, checkWebhook(f))
	if err := oneline.Join(bad...); err != nil {
		return err
	}
	for _, w := range slices.Concat(f.Warnings(), f.UnusableFiles(), unusableFolder(s, storeURL(f, getenv))) {
		fmt.Fprintln(stdout, "warning: "+w)
	}
	_, err = fmt.Fprintf(stdout, "%s: rules: %d, profiles: %d; its hash is %s\n", path, len(f.Callers), len(f.ByName), f.Hash)
	return err
}

// unusableFolder warns of a store that is a folder of this machine and cannot be read,
// or that others can use. What is not there may come later.
func unusableFolder(s store.Store, url string) []string {
	if !strings.HasPrefix(url, "file:") {
		return nil
	}
	for _, name := range []store.Name{store.AppClientID(), store.PrivateKey()} {
		if _, err := s.Get(context.Background(), name); err != nil && !errors.Is(err, store.ErrNotFound) {
			return []string{err.Error()}
		}
	}
	return nil
}

// ambiguous says which rules can make one workspace of two callers, as "gatepass
// policy lint" does.
func ambiguous(f *settings.File) error {
	var bad []error
	for _, found := range rules.Lint(f) {
		if found.Check == rules.Separator {
			bad = append(bad, fmt.Errorf("rule %s: %s", found.Rule, found.Text))
		}
	}
	return oneline.Join(bad...)
}

// checkWebhook reads the secret of webhooks, where there is to be one.
func checkWebhook(f *settings.File) error {
	if f.Webhook.SecretFile == "" {
		return nil
	}
	secret, err := f.Webhook.Secret()
	if err != nil {
		return err
	}
	if err := console.CheckSecret(secret); err != nil {
		return oneline.Wrap("read "+f.Webhook.SecretFile, err, "write a longer one, and set it in the App's settings, too")
	}
	return nil
}

// storeURL is what the file says, else the variable, else where the command line
// of root keeps things.
func storeURL(f *settings.File, getenv func(string) string) string {
	const fallback = "file:///var/lib/gatepass"
	if f.Store != "" {
		return f.Store
	}
	if named := getenv(issuing.StoreVariable); named != "" {
		return named
	}
	return fallback
}

func needsTLS(f *settings.File) bool {
	for _, address := range f.Listen {
		if strings.HasPrefix(address, "https:") {
			return true
		}
	}
	return false
}

// newLog is the broker's own log; level may change while it runs. What is in it may
// come from anybody, and is shown on terminals.
func newLog(f *settings.File, stderr io.Writer, level *slog.LevelVar) *slog.Logger {
	setLevel(f, level)
	o := &slog.HandlerOptions{Level: level}
	if f.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(oneline.JSONWriter(stderr), o))
	}
	return slog.New(slog.NewTextHandler(oneline.TextWriter(stderr), o))
}

func setLevel(f *settings.File, level *slog.LevelVar) {
	var l slog.Level // the zero Level is info
	_ = l.UnmarshalText([]byte(f.Log.Level))
	level.Set(l)
}
