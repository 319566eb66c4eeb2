// Package serve is the program gatepass-broker: it opens what the configuration
// names, composes the broker, and serves it until it is told to end.
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
  --check         read everything, ask nobody, and say whether it would start
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
	f.StringVar(&o.config, "config", config.DefaultPath, "")
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

// Main is the program gatepass-broker. It returns the exit code.
func Main() int {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	syscall.Umask(0o077)
	return run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr, signals)
}

// run is the program without the process around it. It returns the exit code.
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

// check reads everything that a start reads, and asks and writes nothing.
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
	bad = append(bad, err, ambiguous(f))
	if needsTLS(f) {
		_, err = LoadCertificate(f.TLS.CertFile, f.TLS.KeyFile)
		bad = append(bad, err)
	}
	if info, err := os.Stat(filepath.Dir(f.Audit.File)); err != nil || !info.IsDir() {
		bad = append(bad, usererr.New("audit "+f.Audit.File, "its folder is not there", "make it"))
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
func ambiguous(f *config.File) error {
	var bad []error
	for _, found := range config.Lint(f) {
		if found.Check == config.Separator {
			bad = append(bad, fmt.Errorf("rule %s: %s", found.Rule, found.Text))
		}
	}
	return usererr.Join(bad...)
}

// checkWebhook reads the secret of webhooks, where there is to be one.
func checkWebhook(f *config.File) error {
	if f.Webhook.SecretFile == "" {
		return nil
	}
	secret, err := f.Webhook.Secret()
	if err != nil {
		return err
	}
	if err := revoke.CheckSecret(secret); err != nil {
		return usererr.Wrap("read "+f.Webhook.SecretFile, err, "write a longer one, and set it in the App's settings, too")
	}
	return nil
}

// storeURL is what the file says, else the variable, else where the command line
// of root keeps things.
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

// newLog is the broker's own log; level may change while it runs. What is in it may
// come from anybody, and is shown on terminals.
func newLog(f *config.File, stderr io.Writer, level *slog.LevelVar) *slog.Logger {
	setLevel(f, level)
	o := &slog.HandlerOptions{Level: level}
	if f.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(usererr.JSONWriter(stderr), o))
	}
	return slog.New(slog.NewTextHandler(usererr.TextWriter(stderr), o))
}

func setLevel(f *config.File, level *slog.LevelVar) {
	var l slog.Level // the zero Level is info
	_ = l.UnmarshalText([]byte(f.Log.Level))
	level.Set(l)
}

// garbage is how much a broker's memory may grow before it is collected, in per
// cent. A collection makes the slowest hundredth of answers, and a broker is
// small: twice the usual halves how often that is, for some 20 MB.
const garbage = 200

// collectLess sets that, unless whoever runs the broker decides by GOGC.
func collectLess(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}
