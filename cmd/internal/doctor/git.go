package doctor

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/gitconfig"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// readSettings lists the configuration of a git in the working directory.
func (c *chart) readSettings(ctx context.Context, git string) listing {
	out, stderr, err := run(ctx, c.Dir, plainEnvironment(c.Environ), git, gitconfig.Arguments()...)
	if err != nil {
		return listing{err: usererr.Wrap("read git's configuration", firstOf(stderr, err), "")}
	}
	list, err := gitconfig.Parse(out)
	return listing{list, err}
}

// plainEnvironment removes variables that make "git config" read another file than
// other git commands do, and those that enable tracing.
func plainEnvironment(environ []string) []string {
	return without(environ, func(name string) bool { return name == "GIT_CONFIG" || strings.HasPrefix(name, "GIT_TRACE") })
}

func without(environ []string, drop func(name string) bool) []string {
	var kept []string
	for _, entry := range environ {
		if name, _, _ := strings.Cut(entry, "="); !drop(name) {
			kept = append(kept, entry)
		}
	}
	return kept
}

func run(ctx context.Context, dir string, environ []string, program string, args ...string) (stdout, stderr []byte, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environ, &out, &errs
	// Reading the output of an ended program can take long on a busy machine. After the
	// deadline, nothing waits for it.
	cmd.WaitDelay = 500 * time.Millisecond
	cmd.Cancel = func() error { cmd.WaitDelay = lateness / 2; return cmd.Process.Kill() }
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = errLate
	case errors.Is(err, exec.ErrWaitDelay): // it succeeded, and a child still holds its output
		err = nil
	}
	return out.Bytes(), errs.Bytes(), err
}

// firstOf returns the first line of a program's error output, or err if there is none.
func firstOf(stderr []byte, err error) error {
	line, _, _ := strings.Cut(strings.TrimSpace(string(stderr)), "\n")
	if line == "" {
		return err
	}
	return errors.New(redact.Text(line, 200))
}

// where describes the file of a setting: "local, .git/config".
func where(s gitconfig.Setting) string {
	if file := s.File(); file != "" {
		return s.Scope + ", " + file
	}
	return s.Scope
}

// unset returns the command that removes a setting from its file.
func unset(s gitconfig.Setting) string {
	file := s.File()
	if file == "" {
		return "leave " + s.Key + " out of the command line and of GIT_CONFIG_* variables"
	}
	return "git config --file " + usererr.Quote(file) + " --unset-all " + usererr.Quote(s.Key)
}

// unsetValue is like unset, for one of several values.
func unsetValue(s gitconfig.Setting) string {
	if s.File() == "" {
		return unset(s)
	}
	return unset(s) + " " + usererr.Quote("^"+literal(s.Value)+"$")
}

// literal escapes a value for git's extended regular expressions.
func literal(value string) string {
	var b strings.Builder
	for _, r := range value {
		if strings.ContainsRune(`\.[]{}()*+?|^$`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
