package fakegithub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A gitCommand is one run of git.
type gitCommand struct {
	args     []string
	dir      string
	protocol string    // GIT_PROTOCOL
	stdin    io.Reader // nil means empty
	stdout   io.Writer // nil means discarded
}

// runGit runs git to its end. If ctx ends or a stream breaks, it kills git and its
// children, so that half a request never counts as a whole one.
func (s *Server) runGit(ctx context.Context, c gitCommand) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := s.gitProcess(ctx, c)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	fed := make(chan error, 1)
	go func() { fed <- feed(in, c.stdin, cancel) }()
	_, copyErr := io.Copy(c.output(), out)
	if copyErr != nil {
		cancel()
	}
	_, _ = io.Copy(io.Discard, out) // wait until the killed processes are gone
	waitErr := cmd.Wait()
	if err := errors.Join(<-fed, copyErr); err != nil {
		return err
	}
	if waitErr != nil {
		return fmt.Errorf("git %s: %w: %s", c.args[0], waitErr, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// feed copies the request to git, and discards what git does not read. If the body
// breaks off, it calls cancel instead of closing git's standard input.
func feed(in io.WriteCloser, body io.Reader, cancel func()) error {
	if body == nil {
		_ = in.Close() // git may have closed it already
		return nil
	}
	src := &errorKeeper{r: body}
	_, _ = io.Copy(in, src)
	if src.err == nil {
		_, _ = io.Copy(io.Discard, src)
	}
	if src.err != io.EOF {
		cancel()
		return src.err
	}
	_ = in.Close()
	return nil
}

// An errorKeeper records the error of reading, which io.Copy does not distinguish from
// one of writing.
type errorKeeper struct {
	r   io.Reader
	err error
}

func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if err != nil {
		k.err = err
	}
	return n, err
}

func (c gitCommand) output() io.Writer {
	if c.stdout == nil {
		return io.Discard
	}
	return c.stdout
}

// gitProcess returns a git command that inherits only PATH, and so none of its parent's
// configuration.
func (s *Server) gitProcess(ctx context.Context, c gitCommand) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.git, c.args...)
	cmd.Dir = c.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + s.home,
		"XDG_CONFIG_HOME=" + s.home,
		"GIT_CONFIG_NOSYSTEM=1",
		"LC_ALL=C",
	}
	if c.protocol != "" {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+c.protocol)
	}
	ownGroup(cmd)
	cmd.WaitDelay = 30 * time.Second // for a slow client that still reads the output of an ended git
	return cmd
}
