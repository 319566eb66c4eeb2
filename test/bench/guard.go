package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	manyUpdates  = 10_000
	manyPatterns = 100
	agentBranch  = "refs/heads/agent/topic"
)

// patterns returns a policy's patterns. The last few match what is pushed here.
func patterns() []string {
	lines := []string{"refs:"}
	for i := range 40 {
		lines = append(lines, fmt.Sprintf(`  - "release/%d"`, i), fmt.Sprintf(`  - "team-%d/**"`, i))
	}
	for i := range 9 {
		lines = append(lines, fmt.Sprintf(`  - "*/fix-%d/*"`, i), fmt.Sprintf(`  - "**/x%d-*"`, i))
	}
	lines = append(lines, `  - "agent/**"`, `  - "agent-*/**"`)
	if len(lines) != manyPatterns+1 {
		panic("not as many patterns as promised")
	}
	return lines
}

// A pusher is a user with the guard, a repository with two commits, and a bare
// repository to push to.
type pusher struct {
	*testUser
	work, bare string
	url        string // address of bare through a replacement for ssh, because the guard does not check a push to a path
	old, new   string // the two commits
}

func (b *bench) newPusher() (*pusher, error) {
	w, err := b.newUser("push")
	if err != nil {
		return nil, err
	}
	p := &pusher{testUser: w, work: filepath.Join(w.dir, "work"), bare: filepath.Join(w.dir, "bare.git")}
	p.url = "github.com:" + p.bare
	ssh := filepath.Join(w.dir, "ssh")
	if err := os.WriteFile(ssh, []byte("#!/bin/sh\nfor command; do :; done\nexec sh -c \"$command\"\n"), 0o755); err != nil {
		return nil, err
	}
	if err := w.configure(append([]string{"source: file:///nonexistent"}, patterns()...)...); err != nil {
		return nil, err
	}
	steps := [][]string{
		{"init", "-q", p.work},
		{"init", "-q", "--bare", p.bare},
		{"config", "--global", "user.name", "bench"},
		{"config", "--global", "user.email", "bench@example.com"},
		{"config", "--global", "core.sshCommand", ssh},
		{"-C", p.work, "commit", "-q", "--allow-empty", "-m", "one"},
		{"-C", p.work, "push", "-q", p.bare, "HEAD:" + agentBranch},
		{"-C", p.work, "commit", "-q", "--allow-empty", "-m", "two"},
		{"-C", p.work, "push", "-q", p.bare, "HEAD:refs/heads/kept"}, // so that a push sends no objects
	}
	for _, step := range steps {
		if _, err := w.do("", "git", step...); err != nil {
			return nil, err
		}
	}
	if p.old, err = w.do("", "git", "-C", p.work, "rev-parse", "HEAD~1"); err != nil {
		return nil, err
	}
	p.new, err = w.do("", "git", "-C", p.work, "rev-parse", "HEAD")
	return p, err
}

// guardCPU measures the processor time of the guard and of the git commands that it
// runs.
func (b *bench) guardCPU() ([]row, error) {
	p, err := b.newPusher()
	if err != nil {
		return nil, err
	}
	zero := strings.Repeat("0", len(p.new))
	var lines strings.Builder
	for i := range manyUpdates {
		fmt.Fprintf(&lines, "HEAD %s refs/heads/agent-%d/fix-%d/topic %s\n", p.new, i, i%20, zero)
	}
	many, err := p.guardTimes(b.runs(60), lines.String())
	if err != nil {
		return nil, err
	}
	one, err := p.guardTimes(b.runs(60), fmt.Sprintf("HEAD %s refs/heads/agent-1/topic %s\n", p.new, zero))
	if err != nil {
		return nil, err
	}
	r := row{Promise: fmt.Sprintf("guard: CPU of %d updates, %d patterns", manyUpdates, manyPatterns), Ours: many.figure()}
	return []row{r.beside("one update", one.figure()).judged(under(50))}, nil
}

// guardTimes runs the guard as git does and returns its processor time.
func (p *pusher) guardTimes(n int, stdin string) (timing, error) {
	var used []time.Duration
	for range n {
		c := p.command(guardProgram, p.url, p.url)
		cmd := exec.CommandContext(p.bench.ctx, c.path, c.args...)
		cmd.Env, cmd.Dir, cmd.Stdin = c.env, p.work, strings.NewReader(stdin)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return timing{}, fmt.Errorf("%s: %w: %.200s", guardProgram, err, out.String())
		}
		used = append(used, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	return timingOf(used), nil
}

// push times a push of one ref, a fast-forward, with and without the guard.
func (b *bench) push() ([]row, error) {
	p, err := b.newPusher()
	if err != nil {
		return nil, err
	}
	plain := p.pushing()
	if plain.env, err = p.withoutGuard(); err != nil {
		return nil, err
	}
	if err := p.install(); err != nil {
		return nil, err
	}
	if err := p.isGuarded(); err != nil {
		return nil, err
	}
	times, err := b.race(b.runs(150), p.pushing(), plain)
	if err != nil {
		return nil, err
	}
	with, without := times[0], times[1]
	added := milliseconds(with.lowest-without.lowest, with.median-without.median)
	r := row{
		Promise: "guard: added to a push of one ref", Ours: added,
		PeerName: "git push without it", Peer: without.figure(),
	}
	return []row{r.judged(under(10))}, nil
}

// pushing returns a push that moves the branch forward by one commit; before it, the
// branch is reset.
func (p *pusher) pushing() command {
	c := p.command("git", "push", "-q", p.url, p.new+":"+agentBranch)
	c.dir = p.work
	c.before = func() error {
		return os.WriteFile(filepath.Join(p.bare, agentBranch), []byte(p.old+"\n"), 0o600)
	}
	return c
}

// withoutGuard returns the environment of the same user before the guard was installed.
func (p *pusher) withoutGuard() ([]string, error) {
	home := filepath.Join(p.dir, "home-without")
	if err := os.CopyFS(home, os.DirFS(p.home())); err != nil {
		return nil, err
	}
	env := slices.DeleteFunc(p.env(), func(v string) bool { return strings.HasPrefix(v, "HOME=") })
	return append(env, "HOME="+home), nil
}

// isGuarded returns an error unless git runs the guard: it must refuse what the policy
// does not allow.
func (p *pusher) isGuarded() error {
	_, err := p.do("", "git", "-C", p.work, "push", "-q", "--dry-run", p.url, "HEAD:refs/heads/main")
	if err == nil || !strings.Contains(err.Error(), "gatepass:") {
		return fmt.Errorf("the guard is not asked: %w", err)
	}
	return nil
}
