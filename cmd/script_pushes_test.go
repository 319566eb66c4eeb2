//go:build linux

package cmd_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	// reportedWait bounds how long a report may take from the guard to the log.
	reportedWait = time.Minute
	// unheardWait is how long the test waits for a report that must not come.
	unheardWait = 300 * time.Millisecond

	// operatorToken is the one whose hash is in the brokers' files.
	operatorToken = "operator-0123456789abcdef0123"
)

// reported COUNT [TEXT] waits until the broker's log in $WORK/audit.jsonl has COUNT
// refs of refused pushes, or lines about them that contain TEXT, and checks that no
// more follow.
func (w *world) reported(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1 || len(args) == 2, "reported COUNT [TEXT]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	text := []byte(strings.Join(args[1:], ""))
	count := func() (n int) {
		log, err := os.ReadFile(filepath.Join(w.work, "audit.jsonl"))
		ts.Check(err)
		for line := range bytes.Lines(log) {
			if bytes.Contains(line, []byte(`"kind":"reported-push"`)) && bytes.Contains(line, text) {
				n++
			}
		}
		return n
	}
	for until := time.Now().Add(reportedWait); count() < want && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(unheardWait)
	if got := count(); got != want {
		ts.Fatalf("%d refused refs are in the log, want %d", got, want)
	}
}

// page FILE writes what the broker's status page shows to an operator.
func (w *world) page(ts *testscript.TestScript, args []string) {
	usage(ts, len(args) == 1, "page FILE")
	client := &http.Client{Timeout: brokerWait, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(w.run, "broker.sock"))
		},
	}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequest(http.MethodGet, "http://broker/", nil)
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	answer, err := client.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if answer.StatusCode != http.StatusOK {
		ts.Fatalf("the page answers %d %s", answer.StatusCode, text)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}
