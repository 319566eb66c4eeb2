//go:build linux

package serve

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const pushing = `metadata: {name: agent}
spec: {sourceAccess: {github: {allowedRepos: ["acme/*"], allowedRefs: ["agent/**"]}}}
`

// Wherever in a push the broker is killed, GitHub never gets the end of it: no ref moves.
func TestKilledAtEveryOffsetOfAPush(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills the broker many times")
	}
	t.Parallel()
	w := newWorld(t)
	w.addApp(1)
	address := freeAddress(t)
	w.write("profiles/agent.yaml", pushing)
	w.write("broker.yaml", strings.Replace(testConfig, "listen: unix://@DIR@/broker.sock", "gateway: {}\nlisten: [unix://@DIR@/broker.sock, 'http://"+address+"']", 1))
	p := w.start()
	whole := w.pushOf(p, "http://"+address+"/acme/r0.git", 64<<10)
	kills := 0
	for cut := 1; cut < len(whole); cut += 4 << 10 {
		session := w.session(p)
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /acme/r0.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-receive-pack-request\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\n%s",
			base64.StdEncoding.EncodeToString([]byte("x:"+session)), len(whole), whole[:cut])
		time.Sleep(time.Duration(cut%7) * 10 * time.Millisecond) // until more or less of it is forwarded
		p.kill()
		kills++
		_ = c.Close()
		if got := w.refs("refs/heads/agent"); got != "" {
			t.Fatalf("killed after %d of %d bytes: GitHub has %s", cut, len(whole), got)
		}
		p = w.start()
	}
	if kills < 16 {
		t.Errorf("the broker was killed %d times, want one for each 4 KiB", kills)
	}
	// The complete push moves the ref: the test sends what git would.
	answer := w.sendPush(address, w.session(p), whole)
	if w.refs("refs/heads/agent") == "" || !strings.Contains(answer, "ok refs/heads/agent/x") {
		t.Errorf("the whole push was answered %q", answer)
	}
	p.end(15)
}

// pushOf returns what git would send for a push to agent/x of a commit with so much
// noise.
func (w *world) pushOf(p *process, url string, noise int) string {
	w.t.Helper()
	session, clone := w.session(p), w.path("clone")
	w.git(w.t, session, "clone", "-q", url, clone)
	text := make([]byte, noise)
	_, _ = rand.Read(text)
	if err := os.WriteFile(filepath.Join(clone, "noise"), text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.git(w.t, session, "-C", clone, "add", "noise")
	w.git(w.t, session, "-C", clone, "commit", "-q", "-m", "noise")
	head := strings.TrimSpace(w.git(w.t, session, "-C", clone, "rev-parse", "HEAD"))
	pack := w.gitCommand(session, "-C", clone, "pack-objects", "--revs", "--stdout", "-q")
	pack.Stdin = strings.NewReader("HEAD\n")
	data, err := pack.Output()
	if err != nil {
		w.t.Fatal(err)
	}
	command := strings.Repeat("0", 40) + " " + head + " refs/heads/agent/x\x00 report-status object-format=sha1"
	return fmt.Sprintf("%04x%s0000%s", len(command)+4, command, data)
}

// sendPush sends a complete push, and returns the answer.
func (w *world) sendPush(address, session, whole string) string {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://"+address+"/acme/r0.git/git-receive-pack", strings.NewReader(whole))
	if err != nil {
		w.t.Fatal(err)
	}
	r.SetBasicAuth("x", session)
	r.Header.Set("Content-Type", "application/x-git-receive-pack-request")
	return read(http.DefaultClient.Do(r)).body
}
