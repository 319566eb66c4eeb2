//go:build linux

package serve

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/broker/config"
)

// oneConnection is a listener that hands over one connection in memory.
type oneConnection chan net.Conn

func (l oneConnection) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l oneConnection) Close() error   { return nil }
func (l oneConnection) Addr() net.Addr { return new(net.TCPAddr) }

// A load balancer reuses a connection that was idle for up to 60 seconds. If the server
// has closed it by then, the balancer answers 502.
func TestAnIdleConnectionOutlivesABalancersLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broker.yaml")
	if err := os.WriteFile(path, []byte("listen: [\"http://127.0.0.1:8080\"]\naudit: /var/log/audit.jsonl\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := config.LoadDraft(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		listener := make(oneConnection, 1)
		listener <- server
		d := &daemon{log: slog.New(slog.DiscardHandler)}
		s := d.newServer(file, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
		go func() { _ = s.Serve(listener) }()
		defer s.Close()
		defer close(listener)
		answers := bufio.NewReader(client)
		for _, idle := range []time.Duration{0, 61 * time.Second, 75 * time.Second} {
			time.Sleep(idle)
			if _, err := fmt.Fprint(client, "GET /healthz HTTP/1.1\r\nHost: broker\r\n\r\n"); err != nil {
				t.Fatalf("after %s without a request: %v", idle, err)
			}
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("after %s without a request: %v", idle, err)
			}
			answer.Body.Close()
		}
	})
}
