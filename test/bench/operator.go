package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const unitPercent = "%"

// operator measures the real gatepass-operator with Tokens of a real API server. The
// test TestPromises of package operator measures it: it has the cluster and the double.
// According to its source, the peer mints at each reconcile, and mints every token
// again after a restart; its chart gives it 384 MiB.
func (b *bench) operator() ([]row, error) {
	n := b.runs(b.tokens)
	found, why := b.operatorFigures(n)
	what := fmt.Sprintf("operator, %d Tokens: ", n)
	promised := []struct {
		name, figure, unit string
		scale, limit       float64
		peer               string
		of                 float64
	}{
		{"all ready, GitHub answering in 25 ms", "ready_s", unitMS, 1000, 60_000 * max(1, float64(n)/1000), "", 0},
		{"resident memory", "resident_mib", unitMB, 1.048576, 150, "github-token-manager's limit", 402.7},
		{"processor while nothing is due", "quiet_percent", unitPercent, 1, 2, "", 0},
		{"mints by a restart", "restart_mints", unitRequests, 1, 0, "github-token-manager", float64(n)},
		{"signatures by the App's key", "signatures", unitCalls, 1, 3, "", 0},
		{"a deleted Secret is back", "secret_back_ms", unitMS, 1, 1000, "", 0},
		{"a narrowed policy revokes the first token", "narrowed_first_ms", unitMS, 1, 10_000, "", 0},
		{"refusals by GitHub's secondary limit, 400 new Tokens at the default pace", "refused", unitRequests, 1, 0, "", 0},
		{"Tokens late meanwhile", "late", unitCalls, 1, 0, "", 0},
	}
	var rows []row
	for _, p := range promised {
		r := row{Promise: what + p.name}
		if why != nil {
			r.Verdict, r.Note = missing, why.Error()
		} else {
			r.Ours = figure{Value: found[p.figure] * p.scale, Unit: p.unit}
			if p.peer != "" {
				r = r.beside(p.peer, figure{Value: p.of, Unit: p.unit})
			}
			r = r.judged(atMost(p.limit))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// operatorFigures runs the test, or returns what it lacks.
func (b *bench) operatorFigures(n int) (map[string]float64, error) {
	assets, err := kubeAssets()
	if err != nil {
		return nil, err
	}
	report := filepath.Join(b.scratch, "operator.json")
	cmd := exec.CommandContext(b.ctx, "go", "test", "-count=1", "-timeout=60m", "-run=^TestPromises", "./operator")
	cmd.Env = append(os.Environ(), "GATEPASS_TEST_KUBE_ASSETS="+assets, "GATEPASS_TEST_BIN_DIR="+b.bin,
		fmt.Sprint("GATEPASS_TEST_SCALE=", n), "GATEPASS_TEST_REPORT="+report)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("measure the operator: %w: %.300s", err, out)
	}
	found := map[string]float64{}
	for _, path := range []string{report + ".paced", report} {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("measure the operator: it was skipped: %.300s", out)
		}
		if err := json.Unmarshal(text, &found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// kubeAssets returns the folder with the newest kube-apiserver that test/components has
// set up.
func kubeAssets() (string, error) {
	if dir := os.Getenv("GATEPASS_TEST_KUBE_ASSETS"); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	found, _ := filepath.Glob(filepath.Join(cache, "gatepass-test", "kubernetes-*", "controllers"))
	if len(found) == 0 {
		return "", fmt.Errorf("no Kubernetes API server is set up: run go run ./test/components setup")
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(modified(a), modified(b)) })
	return strings.TrimSuffix(newest, "/controllers"), nil
}

func modified(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.ModTime().UnixNano()
}
