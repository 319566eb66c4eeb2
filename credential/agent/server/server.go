// Package server implements gatepass-agent: it listens on the socket, holds the source
// and the tokens in memory, and exits when it is not needed.
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
	// DefaultIdle is how long an agent stays without a call.
	DefaultIdle = 30 * time.Minute

	watchEvery   = time.Second      // to notice that the socket or workspace file was removed
	refreshEvery = 30 * time.Second // for tokens that expire soon
	drainWait    = 5 * time.Second  // for running answers when the agent is told to end
)

// An Opener makes the source that a workspace file names.
type Opener func(*config.Workspace) (credential.Source, error)

// A Server answers calls for one workspace file and one environment. Config and
// Open must be set.
type Server struct {
	Config       string        // the workspace file, absolute
	Open         Opener        //
	Idle         time.Duration // 0 means DefaultIdle
	MemoryLocked bool          // reported in the status
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
	busy    atomic.Int64 // number of running calls
	isOnce  bool         // answers one call; there is no resident agent
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

// Stays reports whether this workspace wants a resident agent: its file can be read and
// does not say "cache: none".
func (s *Server) Stays() bool {
	s.prepare()
	p, err := s.loader.load()
	return err == nil && p.workspace.Cache != config.CacheNone
}

// Unknown is the value of Reads if the workspace file cannot be read.
const Unknown = "?"

// Reads returns the groups of variables that the source of the workspace file reads, as
// [agent.Variables] takes them.
func (s *Server) Reads() string {
	s.prepare()
	p, err := s.loader.load()
	if err != nil {
		return Unknown
	}
	return p.reads()
}

// moved reports whether the source now reads other variables, so that callers with
// other values of them need another agent. It leaves a hint that tells them.
func (s *Server) moved() bool {
	now := s.Reads()
	if s.place.Identity == "" || now == s.reads || now == Unknown {
		return false
	}
	_ = agent.Hint(s.place.Directory, s.Config, now)
	return true
}

// Run listens at place until ctx ends, no call has arrived for Idle, the socket or the
// workspace file was removed, or the program was replaced. It calls ready once it
// answers calls. Run returns ErrRunning if another agent has the place, and another
// error if this user has too many agents.
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
	c := &workerPool{server: s, listen: listener}
	for range idleGoroutines {
		c.start(ctx)
	}
	s.watch(ctx, place.Socket, mine)
	removeSocket(place.Socket, mine)
	listener.close()
	unlock() // the next agent need not wait until this one has answered
	drain(ctx, &c.answers)
	return nil
}

// removeSocket removes the socket, unless another agent has replaced it.
func removeSocket(path string, mine filestamp.Stamp) {
	if there, err := filestamp.Of(path); err == nil && there.SameFile(mine) {
		_ = os.Remove(path)
	}
}

// workerPool is the set of goroutines that accept and answer connections. One of them always
// waits for the next connection, so that a slow answer blocks no other caller. The
// thread that accepts a connection also answers it.
type workerPool struct {
	server  *Server
	listen  *listener
	waiting atomic.Int64
	answers sync.WaitGroup
}

// idleGoroutines is how many goroutines keep waiting when there are no calls.
const idleGoroutines = 3

func (c *workerPool) start(ctx context.Context) {
	c.waiting.Add(1)
	go c.work(ctx)
}

func (c *workerPool) work(ctx context.Context) {
	for {
		conn, ok := c.listen.accept()
		if !ok {
			return
		}
		c.answers.Add(1)
		if c.waiting.Add(-1) == 0 {
			c.start(ctx)
		}
		c.server.serve(ctx, conn)
		c.answers.Done()
		if c.waiting.Add(1) > idleGoroutines {
			c.waiting.Add(-1)
			return
		}
	}
}

// drain waits for running answers. Once ctx has ended, it waits no longer than
// drainWait.
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

// watch keeps tokens fresh. It returns when ctx ends or the server is no longer useful.
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

// replaced reports whether the agent's program file was replaced or removed since the
// start, as by an upgrade. A change of its mode or links does not count.
func (s *Server) replaced() bool {
	there, err := filestamp.Of(s.Program)
	if err != nil {
		return errors.Is(err, os.ErrNotExist) && s.program != filestamp.Stamp{}
	}
	return !there.SameText(s.program)
}
