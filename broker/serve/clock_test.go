//go:build linux

package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// With a clock two hours ahead, a broker minted for every request, and its kill switch
// found nothing to revoke while tokens were alive. Now it uses GitHub's clock, says how
// far its own is off, and its answers' Date uses the clock of the tokens' expiry.
func TestABrokerWhoseClockIsOff(t *testing.T) {
	if testing.Short() {
		t.Skip("starts brokers that wait for GitHub")
	}
	for _, moved := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		w := newWorld(t)
		w.gh.Advance(moved)
		w.addApp(1)
		w.write("broker.yaml", testConfig+fmt.Sprintf("operators: [{name: me, socket: {uid: %d}}]\n", os.Getuid()))
		p := w.start()
		p.until("ready", func() bool { return w.ready().Ready })
		for range 3 {
			got := w.token("acme/r0", "write")
			var said struct {
				ExpiresAt time.Time `json:"expires_at"`
			}
			date, err := http.ParseTime(got.header.Get("Date"))
			if got.status != 200 || err != nil || json.Unmarshal([]byte(got.body), &said) != nil || (said.ExpiresAt.Sub(date)-time.Hour).Abs() > time.Minute {
				t.Fatalf("a token: %d %s of %s, %v, want one that ends an hour after the Date", got.status, got.body, got.header.Get("Date"), err)
			}
		}
		if n := w.gh.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/access_tokens") }); n != 1 {
			t.Errorf("%d tokens were minted for three requests, want 1", n)
		}
		w.eventuallyOff(p)
		if listed, body := w.do("GET", "/v1/workspaces", ""); listed != 200 || strings.Count(body, `"kind":"vended"`) != 1 {
			t.Errorf("the list is %d %s, want the token", listed, body)
		}
		status, body := w.do("POST", api.KillPath, `{"app":true}`)
		if status != 200 || strings.Contains(body, `"revoked":[]`) || len(w.gh.Tokens()) != 0 {
			t.Errorf("kill = %d %s, and %d tokens live, want the token revoked", status, body, len(w.gh.Tokens()))
		}
		p.kill()
	}
}

// eventuallyOff waits until the broker reports everywhere that its clock is off.
func (w *world) eventuallyOff(p *process) {
	w.t.Helper()
	p.until("saying that the clock is off", func() bool { return strings.HasPrefix(w.ready().Clock, "this machine's clock is 2h0m0s ") })
	p.until("logging it", func() bool { return strings.Contains(p.log.String(), "this machine's clock is 2h0m0s ") })
	if metrics := w.get("metrics.sock", "/metrics").body; !strings.Contains(metrics, "\ngatepass_broker_clock_ahead_seconds ") {
		w.t.Error("there is no gatepass_broker_clock_ahead_seconds")
	}
}

// While GitHub asks the App to pause, workspaces are told at once when to retry, and
// GitHub is not asked for any of them (scala-steward-org/scala-steward#2355).
func TestAPauseHoldsBackEveryWorkspace(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a pause of GitHub")
	}
	w := newWorld(t)
	w.addApp(10)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	w.gh.Fail(fakegithub.To("", "/installation"), fakegithub.SecondaryRateLimited(-1), -1)
	begun := time.Now()
	for n := range 10 {
		got := w.token(fmt.Sprint("acme/r", n), "read")
		if got.status != 503 || len(got.header.Get("Retry-After")) < 2 || !strings.Contains(got.body, "rate limit") {
			t.Errorf("a token: %d %s after %s, want 503 and when to come back", got.status, got.body, got.header.Get("Retry-After"))
		}
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the answers took %v, want them at once", took)
	}
	if n := w.gh.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/installation") }); n != 1 {
		t.Errorf("GitHub was asked %d times, want once", n)
	}
}
