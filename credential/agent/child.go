package agent

import (
	"os"
	"strings"
	"syscall"
	"time"
)

// A child is a started agent program. Its standard input and output carry the call and
// the reply.
type child struct {
	process *os.Process
	in, out *os.File
}

// spawn starts the agent program in its own session, in the root directory, with no
// descriptors of ours except the two pipes.
func spawn(config string, getenv func(string) string, mode string) (*child, error) {
	path, err := Find(getenv)
	if err != nil {
		return nil, err
	}
	closeOnExec()
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	defer stdout.Close()
	process, err := os.StartProcess(path, []string{Program, mode, "--config", config}, &os.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []*os.File{stdin, stdout, nil}, // a nil file is closed; the agent opens /dev/null for it
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	return &child{process: process, in: in, out: out}, nil
}

func (c *child) close() {
	c.in.Close()
	c.out.Close()
	_ = c.process.Release()
}

// readWord reads the first line of the child's output. If the child writes none in
// time, readWord kills it: it serves no other caller yet.
func (c *child) readWord(deadline time.Time) (string, error) {
	var line []byte
	_ = c.out.SetReadDeadline(deadline)
	for b := make([]byte, 1); ; {
		n, err := c.out.Read(b)
		if n == 1 && b[0] == '\n' {
			return string(line), nil
		}
		if err != nil || len(line) > 16 {
			_ = c.process.Kill()
			return "", errNoReply
		}
		line = append(line, b[:n]...)
	}
}

// call writes the call to the child and reads its reply.
func (c *child) call(call Call, deadline time.Time) (Reply, error) {
	call.Timeout = timeToAnswer(deadline)
	call.Asker = os.Getpid()
	_ = c.in.SetWriteDeadline(deadline)
	_ = c.out.SetReadDeadline(deadline)
	if _, err := c.in.Write(AppendCall(nil, call)); err != nil {
		return Reply{}, errNoReply
	}
	var buf strings.Builder
	chunk := make([]byte, 4096)
	for {
		n, err := c.out.Read(chunk)
		buf.Write(chunk[:n])
		if r, whole, perr := ParseReply([]byte(buf.String())); whole || perr != nil {
			_, _ = c.process.Wait() // the child ends by itself, and a container's first process may never reap it
			return r, perr
		}
		if err != nil || buf.Len() > MaxMessage {
			_ = c.process.Kill()
			return Reply{}, childError(err)
		}
	}
}

func childError(err error) error {
	if os.IsTimeout(err) {
		return ErrDeadline
	}
	return errNoReply
}
