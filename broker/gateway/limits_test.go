package gateway_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A client that sends its list of refs too slowly, or stops, is cut off soon.
func TestASlowClient(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newAged(t)
	w.set(func(s *gateway.Settings) { s.IdleTimeout = 300 * time.Millisecond })
	pr, pw := io.Pipe()
	done := make(chan string, 1)
	go func() {
		status, answer := w.raw(pr, nil)
		done <- fmt.Sprint(status, answer)
	}()
	_, _ = io.WriteString(pw, head(zeros+" "+ones+" "+work+"\x00 report-status")+"PACK")
	waitFor(t, func() bool { return w.gateway.Running() == 1 })
	waitFor(t, func() bool { return w.gateway.Running() == 0 }) // without the client's help
	_ = pw.Close()
	if answer := <-done; strings.Contains(answer, "ok refs") {
		t.Errorf("a client that stops is answered %s", answer)
	}
	if got := w.ref(work); got != "" {
		t.Errorf("GitHub has %s, want nothing", got)
	}
}

func TestTransfersAtOnce(t *testing.T) {
	t.Parallel()
	w := newAged(t)
	w.set(func(s *gateway.Settings) { s.Transfers = 1 })
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); w.raw(pr, nil) }()
	_, _ = io.WriteString(pw, head(zeros+" "+ones+" refs/heads/main\x00 report-status")+"PACK")
	waitFor(t, func() bool { return w.gateway.Running() == 1 })
	if out, ok := w.git("fetch", "origin"); ok || !strings.Contains(out, "remote: gatepass: workspace sb-agent has 1 running transfers already") {
		t.Errorf("git fetch beside another transfer prints (exit 0: %v) %s", ok, out)
	}
	_ = pw.Close()
	<-done
	if out, ok := w.git("fetch", "origin"); !ok {
		t.Errorf("git fetch afterwards: %s", out)
	}
}

func TestTransferRate(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newAged(t)
	w.set(func(s *gateway.Settings) { s.Rate = 100 << 10 })
	w.grow(200 << 10)
	if out, ok := w.git("push", "origin", "HEAD:"+work); !ok {
		t.Errorf("git push that goes over the rate: %s", out)
	}
	if out, ok := w.git("fetch", "origin"); ok || !strings.Contains(out, "remote: gatepass: workspace sb-agent has moved more than 102400 bytes in an hour") {
		t.Errorf("git fetch after it prints (exit 0: %v) %s", ok, out)
	}
	w.Advance(2 * time.Hour)
	w.session = w.Session("")
	if out, ok := w.git("fetch", "origin"); !ok {
		t.Errorf("git fetch two hours later: %s", out)
	}
}

// While git waits it gets keep-alives, so that no proxy closes the connection as idle.
func TestKeepAlives(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for keep-alives")
	}
	t.Parallel()
	w := newAged(t)
	w.gateway.KeepAlive = 20 * time.Millisecond
	cancel := w.Fail(isPush, fakegithub.Slow(700*time.Millisecond), -1)
	defer cancel()
	if out, ok := w.git("push", "origin", "HEAD:"+work); !ok {
		t.Errorf("git push to a slow GitHub: %s", out)
	}
	w.grow(8 << 20)
	if out, ok := w.git("push", "origin", "HEAD:main"); ok || !strings.Contains(out, "[remote rejected] HEAD -> main (gatepass: ") {
		t.Errorf("a refused git push with keep-alives prints (exit 0: %v) %s", ok, out)
	}
}
