// Package server is the inside of gatepass-agent: it listens on the socket,
// holds the source and the tokens in memory, and goes away when it is not
// needed.
package server

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/agent"
	"github.com/gatepass/gatepass/internal/config"
	"github.com/gatepass/gatepass/internal/oneline"
)

const (
	// DefaultIdle is how long an agent stays that nobody asks.
	DefaultIdle = 30 * time.Minute

	watchEvery   = time.Second      // for a socket or workspace file that is gone
	refreshEvery = 30 * time.Second // for tokens near their end
	lockWait     = 3 * time.Second  // for an agent that is just going away
	drainWait    = 5 * time.Second  // for answers under way at the end
)

// ErrRunning reports that another agent listens already.
var ErrRunning = errors.New("another agent is running")

// An Opener makes the source that a workspace file names.
type Opener func(*config.Workspace) (credential.Source, error)

// A Server answers calls for one workspace file. Config and Open must be set.
type Server struct {
	Config       string        // the workspace file, absolute
	Open         Opener        //
	Idle         time.Duration // 0 means DefaultIdle
	MemoryLocked bool          // said in the status

	once    sync.Once
	loader  loader
	reports reports
	started time.Time
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
	})
}

// Stays reports whether this workspace wants an agent that stays: its file can
// be read and does not say "cache: none".
func (s *Server) Stays() bool {
	s.prepare()
	p, err := s.loader.load()
	return err == nil && p.workspace.Cache != config.CacheNone
}

// Run listens at place until ctx ends, nobody has asked for Idle, or the socket
// or the workspace file is gone. ready is called once calls are answered. It
// returns ErrRunning where another agent has the place.
func (s *Server) Run(ctx context.Context, place agent.Place, ready func()) error {
	s.prepare()
	unlock, err := takeLock(place.Lock)
	if err != nil {
		return err
	}
	defer unlock()
	listener, err := listen(place)
	if err != nil {
		return oneline.Wrap("listen on "+place.Socket, err, "")
	}
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	mine, err := stampOf(place.Socket)
	if err != nil {
		return oneline.Wrap("listen on "+place.Socket, err, "")
	}
	ready()
	c := &crew{server: s, listen: listener}
	for range spare {
		c.enlist(ctx)
	}
	s.watch(ctx, place.Socket, mine)
	removeSocket(place.Socket, mine)
	listener.close()
	drain(&c.answers)
	return nil
}

// takeLock holds the lock file for the life of the process. An agent that is
// just ending still holds it for a moment.
func takeLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, oneline.Wrap("lock "+path, err, "")
	}
	for until := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if answers(path) || time.Now().After(until) {
			f.Close()
			return nil, ErrRunning
		}
	}
}

// answers reports whether the agent that holds lock listens.
func answers(lock string) bool {
	conn, err := net.Dial("unix", lock[:len(lock)-len(".lock")]+".sock")
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// removeSocket takes the socket away unless another agent's lies there by now.
func removeSocket(path string, mine stamp) {
	if there, err := stampOf(path); err == nil && there.inode == mine.inode {
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

// drain lets answers under way end; a source that hangs is not waited for.
func drain(answers *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { answers.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(drainWait):
	}
}

// watch ends the server when it is of no use any more, and keeps tokens fresh
// meanwhile.
func (s *Server) watch(ctx context.Context, socket string, mine stamp) {
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
			s.stop()
			return
		}
		if p := s.loader.current(); p != nil && time.Since(refreshed) >= refreshEvery {
			refreshed = time.Now()
			p.upkeep(ctx)
		}
	}
}

func (s *Server) useless(socket string, mine stamp) bool {
	there, err := stampOf(socket)
	if err != nil || there.inode != mine.inode {
		return true
	}
	if _, err := os.Stat(s.Config); errors.Is(err, os.ErrNotExist) {
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
	idle := time.Since(time.Unix(0, s.used.Load()))
	return s.busy.Load() == 0 && idle > s.Idle
}
