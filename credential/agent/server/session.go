package server

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/gatepass/gatepass/credential/agent"
)

// readWait bounds how long a connected program may take to say its call, and to
// take the answer.
const readWait = 10 * time.Second

// serve answers the one call of a connection. Peers of another user are cut off
// before a byte is read.
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
		return // whoever asks will ask another agent
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

// Once answers the one call that r holds, for a workspace or a machine where no
// agent stays.
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
