package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/agent/server"
	"github.com/gatepass/gatepass/credential/brokerclient"
	"github.com/gatepass/gatepass/credential/brokerclient/awsproof"
	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/credential/oskeyring"
	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/credential/vaultstore"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
	"golang.org/x/sys/unix"
)

const idleVariable = "GATEPASS_AGENT_IDLE"

// options are the values of the command line and the environment.
type options struct {
	config      string
	idle        time.Duration
	once, start bool
	version     bool
}

func parse(args []string, getenv func(string) string) (options, error) {
	var o options
	f := flag.NewFlagSet("gatepass-agent", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.config, "config", "", "")
	f.DurationVar(&o.idle, "idle", idleFrom(getenv), "")
	f.BoolVar(&o.once, "once", false, "")
	f.BoolVar(&o.start, "start", false, "")
	f.BoolVar(&o.version, "version", false, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.once && o.start || o.idle < 0 {
		return o, errors.New("unexpected arguments")
	}
	var err error
	o.config, err = config.Path(func(name string) string {
		if name == config.PathVariable && o.config != "" {
			return o.config
		}
		return getenv(name)
	})
	return o, err
}

func idleFrom(getenv func(string) string) time.Duration {
	if d, err := time.ParseDuration(getenv(idleVariable)); err == nil && d > 0 {
		return d
	}
	return server.DefaultIdle
}

func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer, locked bool) int {
	o, err := parse(args, getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return 0
	case err != nil:
		_, _ = io.WriteString(stderr, usererr.Line(usererr.Wrap("read the command line", err, "see gatepass-agent --help")))
		return 2
	case o.version:
		_, _ = io.WriteString(stdout, "gatepass-agent "+version.String()+"\n")
		return 0
	}
	s := &server.Server{Config: o.config, Open: open, Idle: o.idle, MemoryLocked: locked}
	if err := serve(ctx, o, s, getenv, stdin, stdout); err != nil {
		_, _ = io.WriteString(stderr, usererr.Line(err))
		return 1
	}
	return 0
}

func serve(ctx context.Context, o options, s *server.Server, getenv func(string) string, stdin io.Reader, stdout io.Writer) error {
	if o.once {
		return s.Once(ctx, stdin, stdout)
	}
	place, err := locate(s, o.config, getenv)
	if !o.start {
		if err != nil {
			return usererr.Wrap("find a directory for the socket", err, "set XDG_RUNTIME_DIR to a directory of this user")
		}
		if _, err := config.Load(o.config); errors.Is(err, fs.ErrNotExist) {
			return err // otherwise the agent would exit at once without an error
		}
		return s.Run(ctx, place, func() {})
	}
	return start(ctx, s, place, err, stdin, stdout)
}

// locate returns the agent's place, whether or not its workspace file can be read yet.
func locate(s *server.Server, path string, getenv func(string) string) (agent.Place, error) {
	if reads := s.Reads(); reads != server.Unknown {
		return agent.LocateFor(path, reads, getenv)
	}
	return agent.Locate(path, getenv)
}

// start runs the helper's request: it starts an agent in the background or, where no
// agent can or should stay, answers this one call.
func start(ctx context.Context, s *server.Server, place agent.Place, placeErr error, stdin io.Reader, stdout io.Writer) error {
	if placeErr == nil && s.Stays() {
		ready := false
		err := s.Run(ctx, place, func() {
			ready = true
			_, _ = io.WriteString(stdout, agent.Ready+"\n")
			letGo()
		})
		if errors.Is(err, server.ErrRunning) {
			_, err = io.WriteString(stdout, agent.Ready+"\n")
			return err
		}
		if ready || err == nil {
			return err
		}
	}
	if _, err := io.WriteString(stdout, agent.Once+"\n"); err != nil {
		return err
	}
	return s.Once(ctx, stdin, stdout)
}

// letGo replaces the three standard descriptors with /dev/null: git and its callers
// wait until every process has closed the other end.
func letGo() {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	for fd := range 3 {
		_ = unix.Dup2(null, fd)
	}
}

const knownSources = "ssm://, vault://, file://, keyring://, broker+https:// and broker+unix://"

const keyringScheme = "keyring"

// brokers keeps the sessions of join tokens when the workspace file changes.
var brokers = &brokerclient.Opener{Methods: []brokerclient.Method{awsproof.Method}}

// open makes the source that a workspace file names, behind a keyring cache if the file
// asks for one. It sends no request yet.
func open(w *config.Workspace) (credential.Source, error) {
	if !w.Gateway.IsZero() {
		return openSessions(w)
	}
	src, err := openSource(w)
	if err != nil || w.Cache != config.CacheKeyring || w.Source.Scheme == keyringScheme {
		return src, err
	}
	return &oskeyring.Cache{Source: src, Scope: w.Path + "\n" + w.ID + "\n" + w.Source.String()}, nil
}

// openSessions makes a source of sessions at the broker that the workspace file names.
func openSessions(w *config.Workspace) (credential.Source, error) {
	if err := w.CheckGatewaySource(); err != nil {
		return nil, usererr.Wrap("open the source of "+w.Path, err, "")
	}
	src, err := brokers.Open(w.Source, w.ID)
	if err != nil {
		return nil, err
	}
	return src.Sessions(), nil
}

func openSource(w *config.Workspace) (credential.Source, error) {
	switch w.Source.Scheme {
	case "ssm":
		return ssmstore.Open(w.Source, w.ID)
	case "vault":
		return vaultstore.Open(w.Source, w.ID)
	case "file":
		return filestore.Open(w.Source, w.ID)
	case keyringScheme:
		return oskeyring.Open(w.Source, w.ID)
	case "broker+https", "broker+unix":
		return brokers.Open(w.Source, w.ID)
	}
	return nil, usererr.New("open the source of "+w.Path, "unknown source "+w.Source.Scheme+"://", "use one of "+knownSources)
}
