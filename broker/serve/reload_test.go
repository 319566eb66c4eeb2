//go:build linux

package serve

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

// The fix for a rejected configuration may be in a profile that the one in force does
// not have.
func TestAProfileOfARejectedFileIsMended(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for several reloads")
	}
	w := newWorld(t)
	w.addApp(1)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	w.write("others/agent.yaml", "metadata: {name: agent}\nspec: nothing\n")
	w.write("broker.yaml", strings.Replace(testConfig, "/profiles/", "/others/", 1))
	p.until("saying that the profile is bad", func() bool { return w.ready().Config != ok })
	time.Sleep(2 * checkEvery)
	w.write("others/agent.yaml", profile)
	p.until("in its second generation", func() bool { return w.ready().Generation == 2 && w.ready().Config == ok })
}

// A pipe instead of the configuration file does not block the broker.
func TestAPipeIsNoConfiguration(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	if err := os.Remove(w.path("broker.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(w.path("broker.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.until("saying that the file is bad", func() bool { return w.ready().Config != ok })
	w.write("broker.yaml", testConfig)
	p.until("content with the file", func() bool { return w.ready().Config == ok })
}

// SIGHUP makes the App be read again; if that fails, the App stays in use.
func TestAnAppThatCannotBeReadAgainStays(t *testing.T) {
	w := newWorld(t)
	w.addApp(2)
	p := w.start()
	p.until("ready", func() bool { return w.ready().Ready })
	w.put(store.PrivateKey(), "half a key")
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until("saying that the App cannot be read", func() bool {
		return strings.Contains(p.log.String(), "the GitHub App cannot be read again; the broker keeps the one it has")
	})
	time.Sleep(readyFor)
	if r := w.ready(); !r.Ready {
		t.Errorf("/readyz = %+v, want it ready with the App it had", r)
	}
	if got := w.token("acme/r1", "read"); got.status != 200 {
		t.Errorf("a token: %d %s", got.status, got.body)
	}
}
