package operator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

// A process is gatepass-operator, as it is shipped.
type process struct {
	*exec.Cmd
	log *lockedBuffer
	t   *testing.T
}

// start starts the program with the options of the world and further ones.
func (w *world) start(args ...string) *process {
	w.t.Helper()
	dir := os.Getenv("GATEPASS_TEST_BIN_DIR")
	program := filepath.Join(dir, "gatepass-operator")
	if _, err := os.Stat(program); dir == "" || err != nil {
		w.t.Skip("missing: gatepass-operator (make build, and GATEPASS_TEST_BIN_DIR)")
	}
	ca := w.File("github.crt", string(w.gh.CAPEM()))
	p := &process{log: &lockedBuffer{}, t: w.t}
	p.Cmd = exec.Command(program, append([]string{
		"--kubeconfig", w.options.Kubeconfig, "--config", w.options.Config, "--namespace", w.home,
		"--github-url", w.gh.URL(), "--health-probe-bind-address", "0",
	}, args...)...)
	p.Env = append(os.Environ(), "SSL_CERT_FILE="+ca)
	p.Stderr = p.log
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
		if strings.Contains(p.log.String(), "ghs_") {
			w.t.Error("the log shows a token")
		}
	})
	return p
}

// end ends it as Kubernetes does.
func (p *process) end() {
	p.t.Helper()
	_ = p.Process.Signal(os.Interrupt)
	if err := p.Wait(); err != nil {
		p.t.Errorf("the operator ended: %v: %s", err, p.log.tail())
	}
}

// usage returns the resident memory in MiB and the processor time so far.
func (p *process) usage() (resident int, used time.Duration) {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	stat, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	if err != nil || err2 != nil {
		p.t.Skip("missing: /proc")
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(text)[0])
			resident = kib / 1024
		}
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return resident, time.Duration(user+system) * 10 * time.Millisecond
}

// createMany creates n Tokens, some at a time.
func (w *world) createMany(namespace string, n int) {
	w.t.Helper()
	w.atOnce(n, func(i int) error { return w.c.Create(w.t.Context(), token(namespace, fmt.Sprintf("git-%05d", i))) })
}

// notReady counts the Tokens of a namespace that are not.
func (w *world) notReady(namespace string) int {
	w.t.Helper()
	var list v1.TokenList
	if err := w.c.List(w.t.Context(), &list, client.InNamespace(namespace)); err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for i := range list.Items {
		if !meta.IsStatusConditionTrue(list.Items[i].Status.Conditions, v1.ConditionReady) {
			n++
		}
	}
	return n
}

// TestPromises measures what BENCHMARKS.md promises of the operator. It runs where
// GATEPASS_TEST_SCALE says how many Tokens: make bench sets it.
func TestPromises(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("GATEPASS_TEST_SCALE"))
	if n == 0 {
		t.Skip("GATEPASS_TEST_SCALE is not set: make bench measures this")
	}
	// GitHub's hourly limit does not count mints; the double's does.
	w := newWorldAt(t, kubernetestest.Options{}, fakegithub.Options{RateLimit: 100 * n})
	cancel := w.gh.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Slow(25*time.Millisecond), -1)
	defer cancel()
	namespace := w.tenant()
	w.createMany(namespace, n)
	began := time.Now()
	p := w.start("--mints-per-minute", "0")
	w.wait(20*time.Minute, "all Tokens ready", func() bool {
		time.Sleep(200 * time.Millisecond)
		return w.mints() >= n && w.notReady(namespace) == 0 // to list them costs the API server much
	})
	ready := time.Since(began)
	time.Sleep(5 * time.Second)
	resident, used := p.usage()
	const look = 20 * time.Second
	time.Sleep(look)
	quiet, usedThen := p.usage()
	cpu := float64(usedThen-used) / float64(look) * 100
	p.end()
	mints := w.mints()
	victim := w.secret(namespace, "git-00000")
	again := w.start("--mints-per-minute", "0")
	began = time.Now()
	if err := w.c.Delete(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	w.wait(2*time.Minute, "a deleted Secret back after a restart", func() bool { return w.secret(namespace, "git-00000") != nil })
	restartBack := time.Since(began)
	time.Sleep(5 * time.Second)
	restarted := w.mints() - mints
	began = time.Now()
	if err := w.c.Delete(t.Context(), w.secret(namespace, "git-00001")); err != nil {
		t.Fatal(err)
	}
	w.wait(time.Minute, "a deleted Secret back", func() bool { return w.secret(namespace, "git-00001") != nil })
	back := time.Since(began)
	after, _ := again.usage()
	narrowed := w.narrow()
	again.end()
	figures := map[string]float64{
		"tokens": float64(n), "ready_s": ready.Seconds(), "resident_mib": float64(max(resident, quiet, after)), "quiet_percent": cpu,
		"mints": float64(mints), "restart_mints": float64(restarted), "signatures": float64(w.gh.Counts().JWTs), "restart_back_ms": float64(restartBack.Milliseconds()),
		"secret_back_ms": float64(back.Milliseconds()), "narrowed_first_ms": float64(narrowed.Milliseconds()),
	}
	w.report(figures, "")
}

// report writes figures for make bench.
func (w *world) report(figures map[string]float64, suffix string) {
	w.t.Helper()
	text, err := json.Marshal(figures)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Logf("%s", text)
	if path := os.Getenv("GATEPASS_TEST_REPORT"); path != "" {
		w.write(path+suffix, text)
	}
}

// TestPromisesPaced has new Tokens come to those that are there, at a GitHub that refuses
// an App that is too fast. It takes three minutes.
func TestPromisesPaced(t *testing.T) {
	if os.Getenv("GATEPASS_TEST_SCALE") == "" {
		t.Skip("GATEPASS_TEST_SCALE is not set: make bench measures this")
	}
	const before, fresh = 50, 350 // 150 mints a minute
	w := newWorldAt(t, kubernetestest.Options{}, fakegithub.Options{PointsPerMinute: fakegithub.SecondaryLimit})
	there := w.tenant()
	w.createMany(there, before)
	p := w.start()
	w.wait(2*time.Minute, "the first Tokens ready", func() bool { time.Sleep(time.Second); return w.notReady(there) == 0 })
	namespace := w.tenant()
	w.createMany(namespace, fresh)
	late := 0
	w.wait(10*time.Minute, "all Tokens ready", func() bool {
		time.Sleep(time.Second)
		late += w.notReady(there)
		return w.notReady(namespace) == 0
	})
	p.end()
	w.report(map[string]float64{"refused": float64(w.gh.Counts().RateLimited), "late": float64(late), "tokens": before + fresh}, ".paced")
}

// narrow takes acme/widgets out of the policy, and returns how long the first of the
// tokens for it lived on.
func (w *world) narrow() time.Duration {
	w.t.Helper()
	policy := &v1.TenantPolicy{}
	if err := w.c.Get(w.t.Context(), client.ObjectKey{Name: "all"}, policy); err != nil {
		w.t.Fatal(err)
	}
	policy.Spec.Repositories = []string{"acme/gadgets"}
	live := len(w.gh.Tokens())
	began := time.Now()
	if err := w.c.Update(w.t.Context(), policy); err != nil {
		w.t.Fatal(err)
	}
	w.wait(time.Minute, "a first token revoked", func() bool { return len(w.gh.Tokens()) < live })
	return time.Since(began)
}
