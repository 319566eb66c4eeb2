// Package server is the inside of gatepass-agent: it listens on the socket,
// holds the source and the tokens in memory, and goes away when it is not
// needed.
package server

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/filestamp"
	"github.com/gatepass/gatepass/internal/usererr"
)

const (
	// DefaultIdle is how long an agent stays that nobody asks.
	DefaultIdle = 30 * time.Minute

	watchEvery   = time.Second      // for a socket or workspace file that is gone
	refreshEvery = 30 * time.Second // for tokens near their end
	drainWait    = 5 * time.Second  // for answers under way when the agent is told to end
)

// An Opener makes the source that a workspace file names.
type Opener func(*config.Workspace) (credential.Source, error)

// A Server answers calls for one workspace file and one environment. Config and
// Open must be set.
type Server struct {
	Config       string        // the workspace file, absolute
	Open         Opener        //
	Idle         time.Duration // 0 means DefaultIdle
	MemoryLocked bool          // said in the status
	Program      string        // the agent's own file; "" means os.Executable

	once    sync.Once
	loader  loader
	reports reports
	started time.Time
	program filestamp.Stamp // at the start
	place   agent.Place     // of Run
	reads   string          // what the source read when Run began
	stop    context.CancelFunc
	used    atomic.Int64 // Unix nanoseconds of the latest call
	busy    atomic.Int64 // calls under way
	isOnce  bool         // no agent stays
}

func (s *Server) prepare() {
	s.once.Do(func() {
		s.loader.path, s.loader.open = s.Config, s.Open
		s.started = time.Now()
		s.used.Store(s.started.UnixNano())
		if s.Idle == 0 {
			s.Idle = DefaultIdle
		}
		if s.Program == "" {
			s.Program, _ = os.Executable()
		}
		s.program, _ = filestamp.Of(s.Program)
	})
}

// Stays reports whether this workspace wants an agent that stays: its file can
// be read and does not say "cache: none".
func (s *Server) Stays() bool {
	s.prepare()
	p, err := s.loader.load()
	return err == nil && p.workspace.Cache != config.CacheNone
}

// Unknown is what the source reads of a workspace file that cannot be read.
const Unknown = "?"

// Reads says which variables the source of the workspace file reads, as [agent.Variables]
// takes it.
func (s *Server) Reads() string {
	s.prepare()
	p, err := s.loader.load()
	if err != nil {
		return Unknown
	}
	return p.reads()
}

// moved reports whether the source has become one that reads other variables, of
// which this agent may have other values than those who ask. They are told.
func (s *Server) moved() bool {
	now := s.Reads()
	if s.place.Identity == "" || now == s.reads || now == Unknown {
		return false
	}
	_ = agent.Hint(s.place.Directory, s.Config, now)
	return true
}

// Run listens at place until ctx ends, nobody has asked for Idle, the socket or
// the workspace file is gone, or the program was replaced. ready is called once
// calls are answered. Run returns ErrRunning where another agent has the place,
// and another error where too many agents of this user run.
func (s *Server) Run(ctx context.Context, place agent.Place, ready func()) error {
	s.prepare()
	s.place, s.reads = place, s.Reads()
	unlock, err := takeLock(place.Lock)
	if err != nil {
		return err
	}
	defer unlock()
	if sweep(place.Directory, place.Lock) >= maxAgents {
		return errTooMany
	}
	listener, err := listen(place)
	if err != nil {
		return usererr.Wrap("listen on "+place.Socket, err, "")
	}
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	mine, err := filestamp.Of(place.Socket)
	if err != nil {
		return usererr.Wrap("listen on "+place.Socket, err, "")
	}
	ready()
	c := &crew{server: s, listen: listener}
	for range spare {
		c.enlist(ctx)
	}
	s.watch(ctx, place.Socket, mine)
	removeSocket(place.Socket, mine)
	listener.close()
	unlock() // the next agent need not wait for the answers of this one
	drain(ctx, &c.answers)
	return nil
}

// removeSocket takes the socket away unless another agent's lies there by now.
func removeSocket(path string, mine filestamp.Stamp) {
	if there, err := filestamp.Of(path); err == nil && there.SameFile(mine) {
		_ = os.Remove(path)
	}
}

// crew is the goroutines that accept and answer. One of them always waits for
// the next connection, so that a slow answer keeps nobody out; a connection is
// answered by the thread that accepted it.
type crew struct {
	server  *Server
	listen  *listener
	waiting atomic.Int64
	answers sync.WaitGroup
}

// spare is how many stay behind to wait when there is nothing to do.
const spare = 3

func (c *crew) enlist(ctx context.Context) {
	c.waiting.Add(1)
	go c.work(ctx)
}

func (c *crew) work(ctx context.Context) {
	for {
		conn, ok := c.listen.accept()
		if !ok {
			return
		}
		c.answers.Add(1)
		if c.waiting.Add(-1) == 0 {
			c.enlist(ctx)
		}
		c.server.serve(ctx, conn)
		c.answers.Done()
		if c.waiting.Add(1) > spare {
			c.waiting.Add(-1)
			return
		}
	}
}

// drain lets answers under way end. Once ctx ends, a source that hangs is not
// waited for.
func drain(ctx context.Context, answers *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { answers.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(drainWait):
	}
}

// watch returns when the server is told to end or of no use any more, and keeps
// tokens fresh meanwhile.
func (s *Server) watch(ctx context.Context, socket string, mine filestamp.Stamp) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	refreshed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.useless(socket, mine) {
			return
		}
		if time.Since(refreshed) < refreshEvery {
			continue
		}
		refreshed = time.Now()
		for _, p := range s.loader.current() {
			p.upkeep(ctx)
		}
	}
}

func (s *Server) useless(socket string, mine filestamp.Stamp) bool {
	there, err := filestamp.Of(socket)
	if err != nil || !there.SameFile(mine) {
		return true
	}
	if _, err := os.Stat(s.Config); errors.Is(err, os.ErrNotExist) {
		return true
	}
	if s.moved() {
		return true
	}
	if p, err := s.loader.load(); err == nil {
		if p.workspace.Cache == config.CacheNone {
			return true
		}
		if p.needsAgent {
			return false
		}
	}
	if s.replaced() {
		return true
	}
	idle := time.Since(time.Unix(0, s.used.Load()))
	return s.busy.Load() == 0 && idle > s.Idle
}

// replaced reports whether the agent's program is another than at the start, or
// gone, as after an upgrade. A change of its mode or links is none.
func (s *Server) replaced() bool {
	there, err := filestamp.Of(s.Program)
	if err != nil {
		return errors.Is(err, os.ErrNotExist) && s.program != filestamp.Stamp{}
	}
	return !there.SameText(s.program)
}
