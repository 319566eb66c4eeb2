package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// commandWait limits one command; all of them together take about a second.
const commandWait = 30 * time.Second

// A result is what one command did.
type result struct {
	output   string // both streams, in the order of output
	failed   error
	grants   []grant // the tokens that were fetched meanwhile
	requests []fakegithub.Request
}

// run prints and runs a command line, in a folder below home.
func (d *demo) run(ctx context.Context, dir, line string) result {
	d.show.command(line)
	before := len(d.source.all())
	d.github.ResetRequests()
	out, err := d.quiet(ctx, d.home+"/"+dir, line)
	r := result{output: out, failed: err, grants: d.source.all()[before:], requests: d.github.gitRequests()}
	d.show.output(out)
	d.outputs = append(d.outputs, out)
	d.report.Requests += len(r.requests)
	if strings.HasPrefix(line, "git ") {
		d.report.Commands++
	}
	return r
}

// count prints how many requests and tokens a command took.
func (d *demo) count(r result) {
	text := fmt.Sprintf("%s to GitHub, %s fetched", plural(len(r.requests), "request"), plural(len(r.grants), "token"))
	for _, g := range r.grants {
		text += fmt.Sprintf(": %s %s, sha256:%.8s…", g.operation, g.repository, g.token.Hash())
	}
	d.show.remark(text)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// quiet runs a command line in the shell and returns what it printed. The command gets
// nothing of this process's environment. When ctx ends, the command and its children
// are killed.
func (d *demo) quiet(ctx context.Context, dir, line string, args ...string) (string, error) {
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("%s: there is no folder %s", line, filepath.Base(dir))
	}
	ctx, cancel := context.WithTimeout(ctx, commandWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", line, "sh"}, args...)...)
	cmd.Dir = dir
	for name, value := range d.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	slices.Sort(cmd.Env)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // time to read the output of a command that ended, on a slow machine
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // not the signal that ended it
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", line, err)
	}
	return out.String(), err
}
