package gateway_test

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// An idleProxy is a proxy in front of the gateway. Like a load balancer, it cuts connections
// that are idle for too long.
type idleProxy struct {
	to   string
	idle time.Duration

	mu  sync.Mutex // guards cut
	cut int
}

// between makes the workspace reach the gateway through a proxy that cuts connections
// that are idle for so long.
func (w *world) between(idle time.Duration) *idleProxy {
	w.t.Helper()
	p := &idleProxy{to: strings.TrimPrefix(w.url, "http://"), idle: idle}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.carry(c)
		}
	}()
	w.url = "http://" + l.Addr().String()
	return p
}

func (p *idleProxy) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	idle := time.AfterFunc(p.idle, func() {
		p.mu.Lock()
		p.cut++
		p.mu.Unlock()
		client.Close()
		server.Close()
	})
	defer idle.Stop()
	over := make(chan struct{}, 2)
	pass := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, io.TeeReader(from, touch{func() { idle.Reset(p.idle) }}))
		over <- struct{}{}
	}
	go pass(server, client)
	go pass(client, server)
	<-over
}

func (p *idleProxy) cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

type touch struct{ do func() }

func (t touch) Write(b []byte) (int, error) {
	t.do()
	return len(b), nil
}

// Load balancers cut idle connections. GitHub may take minutes to answer a push, and a client
// may take minutes to send a pack that is refused. The gateway sends keep-alives meanwhile.
func TestBehindAProxyThatCutsIdleConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for idle connections")
	}
	t.Parallel()
	w := newAged(t)
	w.gateway.KeepAlive = 100 * time.Millisecond
	proxy := w.between(time.Second)
	w.mustGit("remote", "set-url", "origin", w.repo("acme/widgets"))
	cancel := w.Fail(isPush, fakegithub.Slow(3*time.Second), -1)
	if out, ok := w.git("push", "origin", "HEAD:"+work); !ok {
		t.Errorf("git push while GitHub says nothing for three idle times: %s", out)
	}
	cancel()
	pr, pw := io.Pipe()
	go func() {
		_, _ = io.WriteString(pw, head(zeros+" "+ones+" refs/heads/main\x00 report-status side-band-64k")+"PACK")
		time.Sleep(3 * time.Second)
		_, _ = io.WriteString(pw, "the rest of it")
		_ = pw.Close()
	}()
	if status, answer := w.raw(pr, nil); status != 200 || !strings.Contains(answer, "ng refs/heads/main gatepass: ") {
		t.Errorf("a refused push that comes slowly is answered %d %q", status, answer)
	}
	before := proxy.cuts()
	w.gateway.KeepAlive = time.Hour
	defer w.Fail(isPush, fakegithub.Slow(3*time.Second), -1)() // curl retries
	w.mustGit("commit", "-q", "--allow-empty", "-m", "again")
	if out, ok := w.git("push", "origin", "HEAD:"+work); ok || proxy.cuts() == before {
		t.Errorf("without keep-alives a push works (exit 0: %v): the test proves nothing: %s", ok, out)
	}
}

// git negotiates common commits before it pushes, or negotiates only, or in thousands
// of lines that it compresses.
func TestNegotiation(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newAged(t)
	if out, ok := w.git("-c", "push.negotiate=true", "push", "origin", "HEAD:"+work); !ok || strings.Contains(out, "negotiation failed") {
		t.Errorf("git push with push.negotiate prints %s", out)
	}
	common := w.mustGit("rev-parse", "origin/main")
	if out, ok := w.git("fetch", "--negotiate-only", "--negotiation-tip=HEAD", "origin"); !ok || !strings.Contains(out, w.mustGit("rev-parse", "HEAD")) && !strings.Contains(out, common) {
		t.Errorf("git fetch --negotiate-only prints %s", out)
	}
	var history strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&history, "commit refs/heads/mine\ncommitter a <a@example.com> %d +0000\ndata 0\n", 1_700_000_000+i)
	}
	load := exec.CommandContext(t.Context(), "git", "-C", w.dir, "fast-import", "--quiet")
	load.Stdin = strings.NewReader(history.String())
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v: %s", err, out)
	}
	w.mustGit("checkout", "-q", "mine")
	repo, _ := w.Repository("acme", "widgets")
	theirs, err := w.GitIn(t.Context(), repo, nil, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit-tree", "-p", "main", "-m", "theirs", "main^{tree}")
	if err == nil {
		_, err = w.GitIn(t.Context(), repo, nil, "update-ref", "refs/heads/theirs", theirs)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.mustGit("fetch", "-q", "origin")
	if got := w.mustGit("rev-parse", "origin/theirs"); got != theirs {
		t.Errorf("after a fetch with 5,000 haves origin/theirs is %s, want %s", got, theirs)
	}
}
