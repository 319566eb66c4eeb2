package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	refresherProgram = "gatepass-refresher"
	manyWorkspaces   = 10_000
	refreshWorkers   = 20
)

// refresh runs one round of the real refresher over a ledger in which every token is
// due.
func (b *bench) refresh() ([]row, error) {
	n := b.runs(manyWorkspaces)
	f, err := b.startFleet(n)
	if err != nil {
		return nil, err
	}
	defer f.close()
	f.github.ResetRequests()
	took, memory, err := b.pass(f, n)
	if err != nil {
		return nil, err
	}
	mints, signatures := f.asked()
	what := fmt.Sprintf("refresh of %d workspaces, %d at once", n, refreshWorkers)
	return []row{
		row{Promise: what + ": tokens minted", Ours: count(mints, unitRequests), Note: "as many as are due"}.judged(atMost(float64(n))),
		row{Promise: what + ": signatures for 1,000 tokens", Ours: count((signatures*1000+mints-1)/max(mints, 1), unitCalls)}.judged(atMost(10)),
		row{Promise: what + ": peak memory", Ours: megabytes(memory)}.judged(atMost(100)),
		{Promise: what + ": time", Ours: milliseconds(took, took), Note: "with the GitHub double on the same machine"},
	}, nil
}

// pass runs the refresher, which must mint a token for each workspace.
func (b *bench) pass(f *fleet, n int) (took time.Duration, memory int64, err error) {
	cmd := exec.CommandContext(b.ctx, filepath.Join(b.bin, refresherProgram),
		"--store", f.storeURL(), "--workers", fmt.Sprint(refreshWorkers), "--json")
	cmd.Env = []string{"SSL_CERT_FILE=" + f.ca, "HOME=" + f.dir}
	var out bytes.Buffer
	cmd.Stdout = &out
	log, err := os.Create(filepath.Join(f.dir, "log"))
	if err != nil {
		return 0, 0, err
	}
	defer log.Close()
	cmd.Stderr = log
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w: %.300s", refresherProgram, err, out.String())
	}
	took = time.Since(start)
	var report struct {
		Minted, Failed, Refreshed int
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return 0, 0, err
	}
	if report.Minted != n || report.Failed != 0 || report.Refreshed != n {
		return 0, 0, fmt.Errorf("%s reports %+v, want %d refreshed", refresherProgram, report, n)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, 0, fmt.Errorf("this system does not say how much memory %s had", refresherProgram)
	}
	return took, usage.Maxrss * maxrssUnit, nil
}
