package server

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
)

// readWait limits how long a connected program may take to send its call, and to take
// the answer.
const readWait = 10 * time.Second

// serve answers the one call of a connection. It closes connections of other users
// before it reads a byte.
func (s *Server) serve(ctx context.Context, c *conn) {
	defer c.close()
	pid, err := c.peer()
	if err != nil {
		return
	}
	s.busy.Add(1)
	defer s.busy.Add(-1)
	s.used.Store(time.Now().UnixNano())
	c.limit(readWait)
	call, err := readCall(c)
	if err != nil {
		return
	}
	if s.moved() {
		return // the caller will ask another agent
	}
	_, _ = c.Write(agent.AppendReply(nil, s.answer(ctx, call, pid)))
}

func readCall(r io.Reader) (agent.Call, error) {
	buf := make([]byte, 0, 4096)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if c, whole, perr := agent.ParseCall(buf); whole || perr != nil {
			return c, perr
		}
		if err != nil {
			return agent.Call{}, err
		}
		if len(buf) > agent.MaxMessage {
			return agent.Call{}, io.ErrShortBuffer
		}
	}
}

// Once answers the one call in r, for a workspace or a machine without a resident
// agent.
func (s *Server) Once(ctx context.Context, r io.Reader, w io.Writer) error {
	s.prepare()
	s.stop, s.isOnce = func() {}, true
	call, err := readCall(r)
	if err != nil {
		return err
	}
	asker := call.Asker
	if asker == 0 {
		asker = os.Getppid()
	}
	_, err = w.Write(agent.AppendReply(nil, s.answer(ctx, call, asker)))
	return err
}
