package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// patience bounds the wait for a program to answer. It takes four seconds on an idle
// machine, but tests also run on machines with ten times the load that they can handle.
const patience = 3 * time.Minute

// A process is a program that runs until it is killed.
type process struct {
	name   string
	log    string // path
	pid    int
	cancel context.CancelFunc
	ended  chan struct{}
	killed atomic.Bool
}

// run starts a program, whose output is appended to the file log.
func run(ctx context.Context, program, log string, flags []string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, program, flags...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.Env = []string{"TMPDIR=" + os.TempDir()} // no proxy, no kubeconfig
	endWithParent(cmd)
	p := &process{name: filepath.Base(program), log: log, cancel: cancel, ended: make(chan struct{})}
	started := make(chan error)
	go p.wait(cmd, file, started)
	return p, <-started
}

// wait starts cmd and returns when it has ended. It keeps its thread that long, because
// Linux kills a child together with the thread that made it (prctl(2),
// PR_SET_PDEATHSIG).
func (p *process) wait(cmd *exec.Cmd, log io.Closer, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer p.cancel()
	defer close(p.ended)
	defer log.Close()
	err := cmd.Start()
	if err == nil {
		p.pid = cmd.Process.Pid
	}
	started <- err
	if err == nil {
		_ = cmd.Wait() // it was killed, or the log says why it ended
	}
}

// kill ends the process with SIGKILL and returns when it is gone.
func (p *process) kill() {
	p.killed.Store(true)
	p.cancel()
	<-p.ended
}

// endedItself reports whether the process ended without being killed by this package.
func (p *process) endedItself() bool {
	select {
	case <-p.ended:
		return !p.killed.Load()
	default:
		return false
	}
}

// said returns the last lines that the process wrote, in one line.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(len(lines)-3, 0):], " / ")
}

// ready waits until url answers 200. It gives up if the process has ended, because
// another program may then answer.
func (p *process) ready(ctx context.Context, f files, url string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := f.client()
	for {
		select {
		case <-p.ended:
			return fmt.Errorf("%s: it ended before it answered: %s", p.name, p.said())
		case <-ctx.Done():
			return fmt.Errorf("%s: no answer from %s: %w: %s", p.name, url, context.Cause(ctx), p.said())
		case <-time.After(50 * time.Millisecond):
		}
		if answers(ctx, client, url) == nil {
			return nil
		}
	}
}

func answers(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}
