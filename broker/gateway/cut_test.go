package gateway_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Running transfers of a workspace that is blocked, or whose profile is narrowed, are
// cut.
func TestRunningTransfersAreCut(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(*world)
	}{
		{"blocked", func(w *world) {
			if err := w.Access.Broker.Blocklist.Block(w.t.Context(), "sb-agent"); err != nil {
				w.t.Error(err)
			}
		}},
		{"narrowed", func(w *world) { w.SetProfile(`{allowedRepos: [acme/widgets], allowedRefs: [x]}`) }},
	} {
		w := newAged(t)
		go w.gateway.Watch(t.Context())
		pr, pw := io.Pipe()
		done := make(chan string, 1)
		go func() {
			status, answer := w.raw(pr, nil)
			done <- fmt.Sprint(status, answer)
		}()
		_, _ = io.WriteString(pw, head(zeros+" "+ones+" "+work+"\x00 report-status")+"PACK")
		waitFor(t, func() bool { return w.gateway.Running() == 1 })
		c.do(w)
		waitFor(t, func() bool { return w.gateway.Running() == 0 }) // without the client's help
		_ = pw.Close()
		if answer := <-done; strings.Contains(answer, "ok refs") {
			t.Errorf("%s: %s", c.name, answer)
		}
	}
}

// waitingStorage makes GitHub's API redirect every request to a storage that sends so
// many bytes and then waits. The channel reports each that waits.
func (w *world) waitingStorage(size int) <-chan struct{} {
	w.t.Helper()
	asked, over := make(chan struct{}, 1), make(chan struct{})
	w.t.Cleanup(func() { close(over) })
	storage := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/v3/") {
			http.Redirect(rw, r, "/file", http.StatusFound)
			return
		}
		if size > 0 {
			_, _ = rw.Write(make([]byte, size)) // fails if the client was cut
			_ = http.NewResponseController(rw).Flush()
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	w.t.Cleanup(storage.Close)
	roots := x509.NewCertPool()
	roots.AddCert(storage.Certificate())
	w.Access.Upstream.Trust(roots)
	api, err := url.Parse(storage.URL + "/api/v3")
	if err != nil {
		w.t.Fatal(err)
	}
	w.Access.Upstream.API = api
	return asked
}

// A download of GitHub's API is cut like a transfer, whether the storage or the client is
// slow.
func TestRunningDownloadsAreCut(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for slow clients")
	}
	t.Parallel()
	for name, c := range map[string]struct {
		size   int // bytes that the storage sends before it waits
		status int // the status that the client has by then
	}{"while the storage is slow": {1 << 20, 200}, "while the client is slow": {64 << 20, 200}, "before the storage answers": {0, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "{allowedRepos: [acme/widgets], permissions: {actions: read}}")
			asked := w.waitingStorage(c.size)
			go w.gateway.Watch(t.Context())
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/api/v3/repos/acme/widgets/actions/runs/1/logs", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+w.Session("acme/widgets"))
			status, read := make(chan int, 1), make(chan error, 1)
			go func() {
				response, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					status <- 0
					read <- err
					return
				}
				defer response.Body.Close()
				status <- response.StatusCode
				if name == "while the client is slow" {
					time.Sleep(4 * time.Second)
				}
				_, err = io.Copy(io.Discard, response.Body)
				read <- err
			}()
			if c.status != 0 {
				if got := <-status; got != c.status {
					t.Fatalf("status %d, want %d", got, c.status)
				}
			}
			if name != "while the client is slow" { // in that case the storage is still sending
				<-asked
			}
			begun := time.Now()
			if err := w.Access.Broker.Blocklist.Block(t.Context(), "sb-agent"); err != nil {
				t.Fatal(err)
			}
			if c.status == 0 {
				if got := <-status; got != http.StatusForbidden {
					t.Errorf("a request that was cut before its answer: %d, want 403", got)
				}
				<-read
			} else if err := <-read; err == nil {
				t.Error("the download came whole")
			}
			if took := time.Since(begun); took > 15*time.Second {
				t.Errorf("it was cut after %v", took)
			}
		})
	}
}
