package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

const (
	defaultListen  = "127.0.0.1:9464"
	defaultTimeout = 15 * time.Minute
	nowhere        = "none"
	minInterval    = time.Second
)

// variables are the environment variables of the options. A Lambda function has no
// other options.
var variables = map[string]string{
	issuing.StoreVariable:  "store",
	issuing.GitHubVariable: "github-url",
	"GATEPASS_MARGIN":      "margin",
	"GATEPASS_GRACE":       "grace",
	"GATEPASS_WORKERS":     "workers",
	"GATEPASS_ADOPT":       "adopt",
	"GATEPASS_LOG_FORMAT":  "log-format",
}

// options are the values of the command line and the environment.
type options struct {
	store, github      string
	workspace, payload string
	listen             string
	margin, grace      time.Duration
	interval, timeout  time.Duration
	workers            int
	force, adopt       bool
	logFormat          string
	json, version      bool
}

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("gatepass-refresher", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.store, "store", "", "")
	f.StringVar(&o.github, "github-url", "", "")
	f.StringVar(&o.workspace, "workspace", "", "")
	f.StringVar(&o.payload, "payload", "", "")
	f.StringVar(&o.listen, "listen", "", "")
	f.DurationVar(&o.margin, "margin", workspace.DefaultMargin, "")
	f.DurationVar(&o.grace, "grace", workspace.DefaultGrace, "")
	f.DurationVar(&o.interval, "interval", 0, "")
	f.DurationVar(&o.timeout, "timeout", defaultTimeout, "")
	f.IntVar(&o.workers, "workers", 20, "")
	f.BoolVar(&o.force, "force", false, "")
	f.BoolVar(&o.adopt, "adopt", false, "")
	f.StringVar(&o.logFormat, "log-format", "json", "")
	f.BoolVar(&o.json, "json", false, "")
	f.BoolVar(&o.version, "version", false, "")
	return f
}

// parse reads the command line, and the environment for options that the command line
// does not set.
func parse(args []string, getenv func(string) string) (options, error) {
	var o options
	f := o.flags()
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, variable := range slices.Sorted(maps.Keys(variables)) {
		value, name := getenv(variable), variables[variable]
		if value == "" || given[name] {
			continue
		}
		if err := f.Set(name, value); err != nil {
			return o, fmt.Errorf("%s is %q: %w", variable, value, err)
		}
	}
	if o.version {
		return o, nil
	}
	return o, o.check(given)
}

// check returns an error for options that contradict each other or are out of range.
func (o *options) check(given map[string]bool) error {
	switch {
	case o.interval == 0 && given["listen"]:
		return errors.New("--listen needs --interval")
	case o.interval != 0 && (o.force || o.json || o.payload != ""):
		return errors.New("--interval cannot be combined with --force, --json or --payload")
	case o.payload != "" && (o.workspace != "" || o.force):
		return errors.New("--payload cannot be combined with --workspace: the payload names the workspace")
	case o.interval != 0 && o.interval < minInterval:
		return fmt.Errorf("--interval must be at least %s", minInterval)
	case o.interval+o.interval/10 > o.margin:
		return fmt.Errorf("with --interval %s and --margin %s, tokens would expire between two rounds", o.interval, o.margin)
	case o.timeout <= 0:
		return errors.New("--timeout must be above 0")
	case o.workers < 1 || o.workers > 1000:
		return errors.New("--workers must be from 1 to 1000, not " + strconv.Itoa(o.workers))
	case o.grace < 0 || o.grace > time.Hour:
		return errors.New("--grace must be from 0 to 1h")
	case o.logFormat != "json" && o.logFormat != "text":
		return errors.New("--log-format must be json or text")
	}
	if o.listen == "" {
		o.listen = defaultListen
	}
	if o.workspace != "" {
		if err := store.CheckWorkspace(o.workspace); err != nil {
			return err
		}
	}
	if o.github != "" {
		if _, err := mint.APIURL(o.github); err != nil {
			return usererr.Wrap("--github-url or "+issuing.GitHubVariable, err, "")
		}
	}
	return workspace.CheckMargin(o.margin)
}

// issuerGrace returns Grace in the form that an Issuer takes.
func (o *options) issuerGrace() time.Duration {
	if o.grace == 0 {
		return -1
	}
	return o.grace
}
