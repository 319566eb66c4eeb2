package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	manyGets = 50
	// sourceDelay is how long the source takes, so that concurrent requests overlap.
	sourceDelay = 100 * time.Millisecond
)

// cold counts how often the source is called when nothing is cached and no agent runs.
func (b *bench) cold() ([]row, error) {
	rows, err := b.coldGets()
	if err != nil {
		return nil, err
	}
	more, err := b.coldGit()
	return append(rows, more...), err
}

// coldGets starts many gets at once.
func (b *bench) coldGets() ([]row, error) {
	br, err := b.startBroker(github, "", sourceDelay)
	if err != nil {
		return nil, err
	}
	defer br.close()
	w, err := b.newUser("cold")
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := w.configure(br.line()); err != nil {
		return nil, err
	}
	most, all, err := b.coldTimes(w, br, manyGets)
	if err != nil {
		return nil, err
	}
	_, alone, err := b.coldTimes(w, br, 1)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%d cold gets at once", manyGets)
	return []row{
		row{Promise: what + ": source calls", Ours: count(most, unitCalls)}.judged(atMost(1)),
		row{
			Promise: what + ": until the last answer", Ours: all.figure(),
			Note: fmt.Sprintf("the source takes %d ms; both start the agent", sourceDelay.Milliseconds()),
		}.beside("one cold get", alone.figure()),
	}, nil
}

// coldTimes starts n gets at once, several times, each time without an agent. most is
// the largest number of calls to the source in one of them.
func (b *bench) coldTimes(w *testUser, br *broker, n int) (most int, t timing, err error) {
	var took []time.Duration
	for range b.runs(50)/10 + 1 {
		if err := firstOf(w.stopAgent(), b.ctx.Err()); err != nil {
			return 0, timing{}, err
		}
		before, start := br.Calls(), time.Now()
		if err := together(n, getting(w.command(helperProgram, "get"))); err != nil {
			return 0, timing{}, err
		}
		took = append(took, time.Since(start))
		most = max(most, br.Calls()-before)
	}
	return most, timingOf(took), nil
}

// together runs a command n times at once.
func together(n int, c command) error {
	errs := make(chan error, n)
	for range n {
		go func() {
			_, err := c.run()
			errs <- err
		}()
	}
	var first error
	for range n {
		first = firstOf(first, <-errs)
	}
	return first
}

// coldGit runs one git operation: with the helper, and with an askpass that calls its
// source at each prompt.
func (b *bench) coldGit() ([]row, error) {
	hub, err := remoteBench{b}.startHub(0)
	if err != nil {
		return nil, err
	}
	defer hub.close()
	ours, err := hub.user("cold-git")
	if err != nil {
		return nil, err
	}
	defer ours.close()
	if err := ours.install(); err != nil {
		return nil, err
	}
	most := 0
	for range b.runs(30)/10 + 1 {
		if err := ours.stopAgent(); err != nil {
			return nil, err
		}
		before := hub.broker.Calls()
		if _, err := hub.lsRemote(ours).run(); err != nil {
			return nil, err
		}
		most = max(most, hub.broker.Calls()-before)
	}
	prompts, err := hub.promptCalls()
	if err != nil {
		return nil, err
	}
	r := row{Promise: "cold git ls-remote: source calls", Ours: count(most, unitCalls)}
	return []row{r.beside("an askpass asking at each prompt", count(prompts, unitCalls)).judged(atMost(1))}, nil
}

// promptCalls counts the source calls of one git operation with a simple askpass, which
// is this program under another name.
func (h *hub) promptCalls() (int, error) {
	w, err := h.user("askpass")
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	askpass := filepath.Join(w.dir, promptProgram)
	if err := os.Symlink(self, askpass); err != nil {
		return 0, err
	}
	before := h.broker.Calls()
	c := h.lsRemote(w)
	c.env = w.env("GIT_ASKPASS="+askpass, socketVariable+"="+h.broker.socket, hostVariable+"="+h.host)
	if _, err := c.run(); err != nil {
		return 0, err
	}
	return h.broker.Calls() - before, nil
}
