//go:build linux

package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/audit"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// killRounds is how often the broker is killed.
const killRounds = 30

// Whenever the broker is killed, the audit log has every token that may be alive, and
// every one that was given.
func TestKilledAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills the broker many times")
	}
	w := newWorld(t)
	w.addApp(40)
	var given sync.Map // hashes of tokens that callers got
	covered, torn := 0, 0
	for round := range killRounds {
		p := w.launch()
		stop := w.load(&given)
		p.until("listening", func() bool { return w.token("acme/r0", "read").status != 0 || round%3 == 0 })
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		p.kill()
		stop()
		l := readLog(t, w.path("audit.jsonl"))
		if l.torn {
			torn++
		}
		covered = l.check(t, round, w.gh.Tokens(), &given)
	}
	// The next start repairs what the last kill left.
	p := w.start()
	p.end(15)
	r, err := audit.Verify(w.path("audit.jsonl"))
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d rounds, %d lines, %d tokens, %d of them known by their intent alone, %d lines cut off", killRounds, r.Lines, len(w.gh.Tokens()), covered, torn)
}

// load asks for tokens concurrently until it is told to stop.
func (w *world) load(given *sync.Map) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got := w.token(fmt.Sprint("acme/r", rand.IntN(40)), []string{"read", "write"}[rand.IntN(2)])
				var body struct{ Token string }
				switch {
				case got.status == 200 && json.Unmarshal([]byte(got.body), &body) == nil:
					given.Store(fakegithub.Hash(body.Token), true)
				case got.status == 0:
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	return func() { close(done); all.Wait() }
}

// A killedLog is what a log says about tokens.
type killedLog struct {
	minted, answered map[string]bool // by hash
	open             map[string]int  // intents without an outcome, by scope
	torn             bool
}

// readLog verifies a log whose last line may be cut off.
func readLog(t *testing.T, path string) killedLog {
	t.Helper()
	l := killedLog{map[string]bool{}, map[string]bool{}, map[string]int{}, false}
	if info, err := os.Stat(path); os.IsNotExist(err) || err == nil && info.Size() == 0 {
		return l // it was killed before it had begun
	}
	if _, err := audit.Verify(path); err != nil && !errors.Is(err, audit.ErrTorn) {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for line, err := range audit.Read(f) {
		if errors.Is(err, audit.ErrTorn) {
			l.torn = true
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		scope := scopeKey(line.Repository, line.Permissions)
		switch line.Kind {
		case broker.KindIntent:
			l.open[scope]++
		case broker.KindMinted:
			l.open[scope]--
			l.minted[line.Entry.Hash] = true
		case broker.KindRequest:
			if line.Decision == broker.Granted {
				l.answered[line.Entry.Hash] = true
			}
		}
	}
	return l
}

func scopeKey(repository string, permissions map[string]string) string {
	return fmt.Sprintf("%s %v", repository, permissions)
}

// check checks every live token. It returns how many are known only by their intent.
func (l killedLog) check(t *testing.T, round int, live []fakegithub.Token, given *sync.Map) (covered int) {
	t.Helper()
	open := maps.Clone(l.open)
	for _, token := range live {
		if l.minted[token.Hash] {
			continue
		}
		permissions := maps.Clone(token.Permissions)
		delete(permissions, "metadata") // GitHub adds it
		scope := scopeKey(token.Repositories[0], permissions)
		if open[scope]--; open[scope] < 0 {
			t.Errorf("round %d: the log knows nothing of the token %s for %s", round, token.Hash, scope)
		}
		covered++
	}
	given.Range(func(hash, _ any) bool {
		if !l.answered[hash.(string)] {
			t.Errorf("round %d: the token %v was given and the log does not say so", round, hash)
		}
		return true
	})
	return covered
}
