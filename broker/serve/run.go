// Package serve is the program gatepass-broker: it opens what the configuration names,
// composes the broker, and serves until it is told to end.
package serve

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/revoke"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
)

const usage = `usage: gatepass-broker [--config FILE] [--check]

  --config FILE   the configuration (default /etc/gatepass/broker.yaml)
  --check         read all files, make no request, and say whether the broker would start
  --version       print the version

SIGHUP reads the configuration again. SIGTERM and SIGINT let running requests
finish; a second one does not.
`

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// program is the program's name, for messages and telemetry.
const program = "gatepass-broker"

// options are the command line options.
type options struct {
	config         string
	check, version bool
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.config, "config", config.DefaultPath, "")
	f.BoolVar(&o.check, "check", false, "")
	f.BoolVar(&o.version, "version", false, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, nil
}

// Main runs gatepass-broker, and returns the exit code.
func Main() int {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	syscall.Umask(0o077)
	return run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr, signals)
}

// run is Main without the process's globals. It returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return exitDone
	case err != nil:
		_, _ = io.WriteString(stderr, usererr.Line(usererr.Wrap("read the command line", err, "see gatepass-broker --help")))
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
		_, _ = io.WriteString(stderr, usererr.Line(err))
		return exitFailed
	}
	return exitDone
}

// check reads everything that a start reads. It makes no request and writes nothing.
func check(path string, getenv func(string) string, stdout io.Writer) error {
	f, err := config.Load(path)
	if err != nil {
		return err
	}
	known := new(config.Identifiers)
	s, err := issuing.OpenStore(storeURL(f, getenv))
	bad := []error{err}
	if err == nil {
		known.Keys = &identity.Keyset{Store: s}
	}
	_, err = f.Policy(known)
	bad = append(bad, err, checkAmbiguity(f))
	if needsTLS(f) {
		_, err = LoadCertificate(f.TLS.CertFile, f.TLS.KeyFile)
		bad = append(bad, err)
	}
	if info, err := os.Stat(filepath.Dir(f.Audit.File)); err != nil || !info.IsDir() {
		bad = append(bad, usererr.New("audit "+f.Audit.File, "its directory does not exist", "create it"))
	} else {
		bad = append(bad, audit.Check(f.Audit.File))
	}
	bad = append(bad, checkWebhook(f))
	if err := usererr.Join(bad...); err != nil {
		return err
	}
	for _, w := range slices.Concat(f.Warnings(), f.UnusableFiles(), unusableFolder(s, storeURL(f, getenv))) {
		fmt.Fprintln(stdout, "warning: "+w)
	}
	_, err = fmt.Fprintf(stdout, "%s: rules: %d, profiles: %d; its hash is %s\n", path, len(f.Callers), len(f.ByName), f.Hash)
	return err
}

// unusableFolder returns a warning if the store is a local folder that cannot be read,
// or that other users can use. It returns none for a missing folder, which may be made
// later.
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

// checkAmbiguity returns an error that names the rules which can make one workspace id for
// two callers, as "gatepass policy lint" does.
func checkAmbiguity(f *config.File) error {
	var bad []error
	for _, found := range config.Lint(f) {
		if found.Check == config.Separator {
			bad = append(bad, fmt.Errorf("rule %s: %s", found.Rule, found.Text))
		}
	}
	return usererr.Join(bad...)
}

// checkWebhook reads the webhook secret, if one is configured.
func checkWebhook(f *config.File) error {
	if f.Webhook.SecretFile == "" {
		return nil
	}
	secret, err := f.Webhook.Secret()
	if err != nil {
		return err
	}
	if err := revoke.CheckSecret(secret); err != nil {
		return usererr.Wrap("read "+f.Webhook.SecretFile, err, "write a longer one, and set it in the App's settings too")
	}
	return nil
}

// storeURL returns the store in the file, else in the variable, else the default store
// of root's command line.
func storeURL(f *config.File, getenv func(string) string) string {
	const fallback = "file:///var/lib/gatepass"
	if f.Store != "" {
		return f.Store
	}
	if named := getenv(issuing.StoreVariable); named != "" {
		return named
	}
	return fallback
}

func needsTLS(f *config.File) bool {
	for _, address := range f.Listen {
		if strings.HasPrefix(address, "https:") {
			return true
		}
	}
	return false
}

// newLog returns the broker's own log; level may change at any time. Its texts can come
// from any caller and are shown in terminals, so they are escaped.
func newLog(f *config.File, stderr io.Writer, level *slog.LevelVar) *slog.Logger {
	setLevel(f, level)
	o := &slog.HandlerOptions{Level: level}
	if f.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(usererr.JSONWriter(stderr), o))
	}
	return slog.New(slog.NewTextHandler(usererr.TextWriter(stderr), o))
}

func setLevel(f *config.File, level *slog.LevelVar) {
	var l slog.Level // the zero Level is Info
	_ = l.UnmarshalText([]byte(f.Log.Level))
	level.Set(l)
}

// garbage is how much memory may grow between two garbage collections, in percent.
// Collections cause the slowest hundredth of answers. The broker is small, so twice
// Go's default halves their number for about 20 MB.
const garbage = 200

// setGC sets garbage, unless GOGC is set.
func setGC(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}
