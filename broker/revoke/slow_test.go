package revoke

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	uninstalled = `{"action":"deleted","installation":{"account":{"login":"acme"}}}`
	manyClients = 64
	soon        = 4 * time.Second // a slow body may take five seconds
)

// serve serves like gatepass-broker, with TLS and HTTP/2 or without. It calls come for
// each request, unless that is nil.
func serve(t *testing.T, b *bench, withTLS bool, come func()) *httptest.Server {
	t.Helper()
	handler := b.Handler()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if come != nil {
			come()
		}
		handler.ServeHTTP(w, r)
	}))
	s.Config.ReadTimeout, s.Config.WriteTimeout = 30*time.Second, time.Minute
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // about clients that are cut off
	s.EnableHTTP2 = withTLS
	start := s.Start
	if withTLS {
		start = s.StartTLS
	}
	start()
	t.Cleanup(func() {
		s.CloseClientConnections() // Close would wait for slow ones
		s.Close()
	})
	return s
}

// announce makes a delivery with GitHub's headers.
func announce(ctx context.Context, t *testing.T, s *httptest.Server, id, signature string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+WebhookPath, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-GitHub-Event", "installation")
	r.Header.Set("X-GitHub-Delivery", id)
	r.Header.Set("X-Hub-Signature-256", signature)
	return r
}

// A dripping body sends one byte at a time, and never ends.
type dripping struct{ ctx context.Context }

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(50 * time.Millisecond):
		p[0] = ' '
		return 1, nil
	}
}

// Slow deliveries with headers like GitHub's, and from the same address, do not block
// GitHub's.
func TestSlowDeliveriesAreNotInTheWay(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for slow deliveries")
	}
	for _, c := range []struct {
		name    string
		withTLS bool
		size    int64 // size that they announce; -1 for none
	}{
		{"over HTTP/1.1", false, 1000},
		{"over HTTP/1.1, as long as they may be", false, maxDelivery},
		{"over HTTP/2", true, 1000},
		{"over HTTP/2, of no length", true, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			come := make(chan struct{}, 2*manyClients)
			s := serve(t, b, c.withTLS, func() { come <- struct{}{} })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for i := range manyClients {
				r := announce(ctx, t, s, fmt.Sprint("slow-", i), sign("another-secret-0123456789", ""), dripping{ctx})
				r.ContentLength = c.size
				go func() {
					if answer, err := s.Client().Do(r); err == nil {
						answer.Body.Close()
					}
				}()
			}
			for range manyClients {
				<-come
			}
			begun := time.Now()
			r := announce(ctx, t, s, "true", sign(webhookSecret, uninstalled), strings.NewReader(uninstalled))
			answer, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if took := time.Since(begun); answer.StatusCode != http.StatusNoContent || took > soon {
				t.Errorf("GitHub's delivery is answered %d after %v, want 204 within %v", answer.StatusCode, took, soon)
			}
		})
	}
}

// Wrong headers are answered before the body is read.
func TestHeadersAreJudgedFirst(t *testing.T) {
	s := serve(t, newBench(t), false, nil)
	good := "X-GitHub-Event: installation\r\nX-GitHub-Delivery: 1\r\nX-Hub-Signature-256: " + sign(webhookSecret, "") + "\r\n"
	for _, c := range []struct {
		name, headers string
		want          int
	}{
		{"no event", strings.Replace(good, "X-GitHub-Event", "X-Event", 1) + "Content-Length: 1000000\r\n", 400},
		{"no id", strings.Replace(good, "X-GitHub-Delivery", "X-Delivery", 1) + "Content-Length: 1000000\r\n", 400},
		{"no signature", strings.Replace(good, "X-Hub", "X-Hug", 1) + "Content-Length: 1000000\r\n", 401},
		{"half a signature", strings.Replace(good, "sha256=", "sha256=zz", 1) + "Content-Length: 1000000\r\n", 401},
		{"too long", good + fmt.Sprintf("Content-Length: %d\r\n", maxDelivery+1), 413},
	} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: broker\r\n%s\r\n", WebhookPath, c.headers)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		answer.Body.Close()
		if answer.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.name, answer.StatusCode, c.want)
		}
	}
}

// pipes is a listener in memory, whose waits work in synctest.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return new(net.TCPAddr) }

// The broker does not wait long for a body that does not come.
func TestADeliveryThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		listener := make(pipes, 1)
		listener <- server
		s := &http.Server{Handler: newBench(t).Handler()}
		go func() { _ = s.Serve(listener) }()
		defer s.Close()
		defer close(listener)
		var writing sync.WaitGroup
		writing.Go(func() {
			fmt.Fprintf(client, "POST %s HTTP/1.1\r\nHost: broker\r\nX-GitHub-Event: installation\r\nX-GitHub-Delivery: 1\r\nX-Hub-Signature-256: %s\r\nContent-Length: 10000\r\n\r\n", WebhookPath, sign(webhookSecret, ""))
			for _, err := client.Write([]byte(" ")); err == nil; _, err = client.Write([]byte(" ")) {
				time.Sleep(50 * time.Millisecond)
			}
		})
		begun := time.Now()
		answer, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); answer.StatusCode != http.StatusRequestTimeout || took > 6*time.Second {
			t.Errorf("it is answered %d after %v, want 408 after five seconds", answer.StatusCode, took)
		}
		client.Close()
		writing.Wait()
	})
}

// GitHub's own deliveries wait for each other, but not forever.
func TestDeliveriesWaitForTheirTurn(t *testing.T) {
	b := newBench(t)
	var leave []func()
	for range maxApplying {
		out, err := b.revoker.waitForSlot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.revoker.waitForSlot(ctx); err == nil {
		t.Error("one more than may be acted on has its turn")
	}
	time.AfterFunc(50*time.Millisecond, leave[0])
	wantCode(t, "a delivery that waits", b.tell("1", "installation", uninstalled), 204)
}
