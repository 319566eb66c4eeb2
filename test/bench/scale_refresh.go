package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

// A cost is the average cost of one of n things.
type cost struct {
	calls calls
	n     float64       // number of things
	took  time.Duration // of one
	cpu   time.Duration // processor time of the store's server, for one
	asked float64       // requests to GitHub, for one
}

// refreshed replaces the tokens of n workspaces, and then, after the grace, revokes and
// deletes the replaced tokens. That is everything that a workspace costs between two
// refreshes.
func (w *scaleSetup) refreshed(n int) (cost, error) {
	s, err := issuing.OpenStore(w.url)
	if err != nil {
		return cost{}, err
	}
	p, err := profile.Parse([]byte(fleetProfile))
	if err != nil {
		return cost{}, err
	}
	first := w.next()
	w.asked += n
	id := func(k int) string { return fmt.Sprintf("real-%06d", first+k) }
	maker := &workspace.Issuer{App: w.app, Store: w.store}
	if err := inParallel(n, func(k int) error { _, err := maker.Create(w.ctx, id(k), p, 0); return err }); err != nil {
		return cost{}, err
	}
	issuer := &workspace.Issuer{App: w.app, Store: s}
	after := &workspace.Issuer{App: w.app, Store: s, Grace: time.Nanosecond}
	if _, err := issuer.Load(w.ctx, id(0)); err != nil { // connect now, because the connection is not measured
		return cost{}, err
	}
	used, err := w.serverTime()
	if err != nil {
		return cost{}, err
	}
	w.counter.take()
	w.fleet.github.ResetRequests()
	begun := time.Now()
	for k := range n {
		if _, err := issuer.Refresh(w.ctx, id(k), true); err != nil {
			return cost{}, err
		}
		if _, err := after.Refresh(w.ctx, id(k), false); err != nil {
			return cost{}, err
		}
	}
	took := time.Since(begun)
	more, err := w.serverTime()
	asked := float64(len(w.fleet.github.Requests())) / float64(n)
	return cost{w.counter.take(), float64(n), took / time.Duration(n), (more - used) / time.Duration(n), asked}, err
}

// serverTime returns the processor time that the store's server has used, or 0 without a
// server.
func (w *scaleSetup) serverTime() (time.Duration, error) {
	if w.pid == 0 {
		return 0, nil
	}
	running, err := processorTime(w.pid)
	ended, endedErr := endedTime(w.pid)
	return running + ended, firstOf(err, endedErr)
}

// A roundCost is the cost of a round of the real refresher.
type roundCost struct {
	cost
	self time.Duration // processor time of the refresher
}

// passIdle runs a round of the real refresher in which nothing is due.
func (w *scaleSetup) passIdle() (roundCost, error) {
	used, err := w.serverTime()
	if err != nil {
		return roundCost{}, err
	}
	cmd := exec.CommandContext(w.ctx, filepath.Join(w.bin, refresherProgram), "--store", w.url, "--json")
	cmd.Env = append([]string{"SSL_CERT_FILE=" + w.fleet.ca, "HOME=" + w.fleet.dir}, w.env...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	w.counter.take()
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		return roundCost{}, fmt.Errorf("%s: %w: %.300s", refresherProgram, err, out.String()+log.String())
	}
	took := time.Since(begun)
	var report struct{ Minted, Failed, Refreshed, Workspaces int }
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return roundCost{}, err
	}
	if report.Minted+report.Failed+report.Refreshed > 0 {
		return roundCost{}, fmt.Errorf("%s found something due: %s", refresherProgram, out.String())
	}
	more, err := w.serverTime()
	state := cmd.ProcessState
	return roundCost{cost{calls: w.counter.take(), n: 1, took: took, cpu: more - used}, state.UserTime() + state.SystemTime()}, err
}
