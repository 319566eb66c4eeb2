package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/freeport"
)

func TestNext(t *testing.T) {
	for _, c := range []struct {
		interval         time.Duration
		hasFailed        bool
		shortest, longst time.Duration
	}{
		{10 * time.Minute, false, 9 * time.Minute, 11 * time.Minute},
		{10 * time.Minute, true, 108 * time.Second, 132 * time.Second},
		{time.Minute, true, 27 * time.Second, 33 * time.Second},
		{10 * time.Second, true, 9 * time.Second, 11 * time.Second},
	} {
		low, high := c.longst, c.shortest
		for range 1000 {
			d := next(c.interval, c.hasFailed)
			low, high = min(low, d), max(high, d)
		}
		if low < c.shortest || high > c.longst || high-low < (c.longst-c.shortest)/2 {
			t.Errorf("next(%s, %v) is from %s to %s, want from %s to %s", c.interval, c.hasFailed, low, high, c.shortest, c.longst)
		}
	}
}

// The loop keeps workspaces in tokens for hours, mints one per hour, and revokes
// superseded ones.
func TestLoopForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle("sb-1", "sb-2", "sb-3")
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
		defer cancel()
		r := w.refresher("--interval", "5m", "--listen", "none")
		if err := r.loop(ctx); err != nil {
			t.Fatalf("loop = %v", err)
		}
		if rounds := w.log.count("round"); rounds < 65 || rounds > 80 {
			t.Errorf("%d rounds in 6 hours, want about 72", rounds)
		}
		// A token is replaced when 15 to 25 minutes are left of its hour.
		if n := w.asked(); n < 3*8 || n > 3*12 {
			t.Errorf("%d tokens were minted in 6 hours, want 8 to 12 for each of three", n)
		}
		if live := len(w.Tokens()); live < 3 || live > 6 {
			t.Errorf("%d tokens are alive, want one or two for each", live)
		}
		if samples := r.monitor.samples(t); samples["gatepass_refresher_workspaces{state=\"expired\"}"] != 0 || samples["gatepass_tokens_minted_total"] != float64(w.asked()) {
			t.Errorf("the metrics are %v", samples)
		}
	})
}

// A store fails for a while: the loop reports that it is not ready, retries sooner, and
// is ready when the store is back.
func TestLoopRetriesSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle("sb-1")
		var away atomic.Bool
		away.Store(true)
		r := w.refresher("--interval", "5m", "--listen", "none")
		r.apps.Store = sometimes{w.store, &away}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.loop(ctx) }()
		synctest.Wait()
		if status, body := r.monitor.get(t, "/readyz"); status != 503 || !strings.Contains(body, "the store is away") {
			t.Errorf("/readyz answers %d %q, want the reason", status, body)
		}
		away.Store(false)
		time.Sleep(67 * time.Second)
		synctest.Wait()
		if status, body := r.monitor.get(t, "/readyz"); status != 200 {
			t.Errorf("a minute later /readyz answers %d %q, want ok", status, body)
		}
		cancel()
		if err := <-done; err != nil || w.log.count("round") != 2 {
			t.Errorf("loop = %v after %d rounds, want 2", err, w.log.count("round"))
		}
	})
}

// sometimes is a store that fails while away is true.
type sometimes struct {
	store.Store
	away *atomic.Bool
}

func (s sometimes) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	if s.away.Load() {
		return store.Entry{}, errors.New("the store is away")
	}
	return s.Store.Get(ctx, name)
}

// Samples of the metrics page.
const (
	tookSum   = "gatepass_refresher_round_duration_seconds_sum"
	refreshed = `gatepass_refresher_workspaces{state="refreshed"}`
	deferred  = `gatepass_refresher_workspaces{state="deferred"}`
)

// After a signal, workspaces in work are finished, and no other is started.
func TestLoopEndsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle("sb-1", "sb-2", "sb-3")
		w.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Slow(8*time.Second), -1)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r := w.refresher("--interval", "5m", "--listen", "none", "--workers", "2")
		if err := r.loop(ctx); err != nil {
			t.Fatal(err)
		}
		samples := r.monitor.samples(t)
		if took := samples[tookSum]; took < 8 || took > 12 || w.asked() != 2 || samples[refreshed] != 2 || samples[deferred] != 1 {
			t.Errorf("the metrics are %v, want two finished and one deferred in 8 to 12 seconds", samples)
		}
	})
}

// What takes longer is given up.
func TestLoopEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle("sb-1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := w.refresher("--interval", "5m", "--listen", "none")
		r.client = &http.Client{Transport: silent{}}
		if err := r.loop(ctx); err != nil {
			t.Fatal(err)
		}
		if samples := r.monitor.samples(t); samples[tookSum] > 22 || samples[deferred] != 1 || r.monitor.err != nil {
			t.Errorf("the metrics are %v, %v, want the workspace deferred in 22 seconds", samples, r.monitor.err)
		}
	})
}

// silent is a GitHub that never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// The pages are served while the loop runs, and a port in use is an error.
func TestLoopServes(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1")
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.refresher("--interval", "5m", "--listen", address).loop(t.Context()); err == nil || !strings.Contains(err.Error(), "listen on "+address) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("loop at a taken address = %v, want an error that says so", err)
	}
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.refresher("--interval", "5m", "--listen", address).loop(ctx) }()
	for ctx.Err() == nil && !isReady(ctx, "http://"+address+"/readyz") {
		time.Sleep(20 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("/readyz is never ready")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("loop = %v", err)
	}
}

func isReady(ctx context.Context, url string) bool {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK && string(body) == "ok\n"
}

// A suspend of the machine does not delay the next round by as long.
func TestTheLoopAfterSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now().Round(0)
		var slept time.Duration
		time.AfterFunc(time.Minute, func() { slept = 2 * time.Hour })
		wall := func() time.Time { return time.Now().Round(0).Add(slept) }
		if !sleepUntil(t.Context(), begun.Add(time.Hour), wall) {
			t.Error("sleepUntil = false, want true")
		}
		if took := time.Since(begun); took > 2*time.Minute {
			t.Errorf("it waited for %v, want little more than the minute before it slept", took)
		}
	})
}
