package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/credential/agent/server"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
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
	place, err := settle(s, o.config, getenv)
	if !o.start {
		if err != nil {
			return usererr.Wrap("find a place for the socket", err, "set XDG_RUNTIME_DIR to a directory of yours")
		}
		if _, err := config.Load(o.config); errors.Is(err, fs.ErrNotExist) {
			return err // otherwise the agent would exit at once without an error
		}
		return s.Run(ctx, place, func() {})
	}
	return start(ctx, s, place, err, stdin, stdout)
}

// settle returns the agent's place, whether or not its workspace file can be read yet.
func settle(s *server.Server, path string, getenv func(string) string) (agent.Place, error) {
	if reads := s.Reads(); reads != server.Unknown {
		return agent.Settle(path, reads, getenv)
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
