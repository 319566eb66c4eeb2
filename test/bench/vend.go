package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	brokerProgram = "gatepass-broker"
	startTogether = 1_000
	vendRate      = 2_000 // requests per second
	vendTime      = 5 * time.Second
	vendWorkers   = 64
)

// A vendBench measures the broker that vends tokens, and a peer.
type vendBench struct{ *bench }

// vend makes the real broker answer workspaces over TLS that authenticate with OpenID
// Connect tokens.
func (b vendBench) vend() ([]row, error) {
	v, err := b.startBroker()
	if err != nil {
		return nil, err
	}
	defer v.close()
	together, err := b.vendTogether(v)
	if err != nil {
		return nil, err
	}
	many, err := b.vendMany(v)
	if err != nil {
		return nil, err
	}
	warm, err := b.vendWarm(v)
	if err != nil {
		return nil, err
	}
	revoked, err := b.vendRevoked(v)
	return slices.Concat(together, warm, many, revoked), err
}

// vendTogether starts workspaces that all request the same.
func (b vendBench) vendTogether(v *brokerSetup) ([]row, error) {
	n := b.runs(startTogether)
	for k := range n {
		v.identity(k) // signing is not measured
	}
	start := time.Now()
	err := allAtOnce(n, func(k int) error {
		client := v.client()
		defer client.CloseIdleConnections()
		return v.ask(client, k, "acme/widgets")
	})
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	mints, _ := v.fleet.asked()
	what := fmt.Sprintf("broker: %d workspaces start together on one scope", n)
	return []row{
		row{Promise: what + ": tokens minted", Ours: count(mints, unitRequests)}.judged(atMost(1)),
		{Promise: what + ": until the last answer", Ours: milliseconds(took, took), Note: "each with a TLS handshake of its own"},
	}, nil
}

// allAtOnce calls do for 0 to n-1, all at once, and returns the first error.
func allAtOnce(n int, do func(int) error) error {
	errs := make(chan error, n)
	for k := range n {
		go func() { errs <- do(k) }()
	}
	var first error
	for range n {
		first = firstOf(first, <-errs)
	}
	return first
}

// vendMany makes many workspaces active, and measures the broker's memory.
func (b vendBench) vendMany(v *brokerSetup) ([]row, error) {
	n := b.runs(manyWorkspaces)
	client := v.client()
	if err := inParallel(n, func(k int) error { return v.ask(client, k, "acme/widgets") }); err != nil {
		return nil, err
	}
	bytes, err := resident(v.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	return []row{
		row{Promise: fmt.Sprintf("broker: memory with %d live workspaces", n), Ours: megabytes(bytes)}.judged(atMost(100)),
	}, nil
}

// vendWarm makes requests at a steady rate, and times each answer from when its request
// was due: an answer that waited for others is late.
func (b vendBench) vendWarm(v *brokerSetup) ([]row, error) {
	n := b.runs(int(vendRate * vendTime / time.Second))
	took := make([]time.Duration, n)
	client := v.client()
	if err := inParallel(vendWorkers, func(k int) error { return v.ask(client, k, "acme/widgets") }); err != nil {
		return nil, err
	}
	workspaces := b.runs(manyWorkspaces)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the client's own pauses are not measured
	start := time.Now()
	var mu sync.Mutex // guards next and first
	next, first := 0, error(nil)
	var running sync.WaitGroup
	for range vendWorkers {
		running.Go(func() {
			for {
				mu.Lock()
				k := next
				next++
				mu.Unlock()
				if k >= n {
					return
				}
				due := start.Add(time.Duration(k) * time.Second / vendRate)
				time.Sleep(time.Until(due))
				err := v.ask(client, k%workspaces, "acme/widgets")
				took[k] = time.Since(due)
				if err != nil {
					mu.Lock()
					first = firstOf(first, err)
					mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	if first != nil {
		return nil, first
	}
	rate := float64(n) / time.Since(start).Seconds()
	slices.Sort(took)
	p99, median := took[n*99/100], took[n/2]
	what := fmt.Sprintf("broker: a warm exchange over TLS, %d in a second", vendRate)
	return []row{
		row{Promise: what + ": 99th percentile", Ours: milliseconds(p99, median), Note: fmt.Sprintf("in parentheses the median; %.0f in a second were answered, and asked on the same two cores", rate)}.judged(atMost(3)),
	}, nil
}

// vendRevoked revokes everything of one workspace that makes requests continuously, and
// then restarts the broker.
func (b vendBench) vendRevoked(v *brokerSetup) ([]row, error) {
	client := v.client()
	start := time.Now()
	answered := make(chan error, 1)
	go func() { answered <- v.revoke(client, "w-0") }()
	for v.ask(client, 0, "acme/widgets") == nil {
		if time.Since(start) > startWait {
			return nil, errors.New("a revoked workspace is still given tokens")
		}
	}
	took := time.Since(start)
	if err := <-answered; err != nil {
		return nil, err
	}
	v.stop()
	if err := v.start(b.bench); err != nil {
		return nil, err
	}
	again := v.ask(v.client(), 0, "acme/widgets")
	if again == nil || !strings.Contains(again.Error(), "is blocked") {
		return nil, fmt.Errorf("after a restart a revoked workspace is told %w", again)
	}
	return []row{
		row{Promise: "broker: from revoke to refusal", Ours: milliseconds(took, took), Note: "and after a restart the first request is refused"}.judged(atMost(1000)),
	}, nil
}

// revoke makes an operator's call.
func (v *brokerSetup) revoke(client *http.Client, workspace string) error {
	r, err := http.NewRequest(http.MethodPost, v.url+"/v1/workspaces/"+workspace+"/revoke", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		return errors.New("an operator's revoke is answered " + response.Status)
	}
	return nil
}

// client returns a client with its own connections.
func (v *brokerSetup) client() *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(v.certificate)
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: vendWorkers,
	}}
}

// ask makes one request of a workspace, and expects a token.
func (v *brokerSetup) ask(client *http.Client, workspace int, repo string) error {
	_, err := v.exchange(client, v.identity(workspace), repo)
	return err
}

// exchange makes a request with an identity, and returns the token of its answer.
func (v *brokerSetup) exchange(client *http.Client, identity, repo string) (string, error) {
	body := `{"host":"` + v.fleet.github.Host() + `","repo":"` + repo + `","operation":"read"}`
	r, err := http.NewRequest(http.MethodPost, v.url+"/v1/token", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+identity)
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(answer), `"token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(token, "ghs_") {
		return "", errors.New("the broker answers " + response.Status + ": " + string(answer[:min(len(answer), 200)]))
	}
	return token, nil
}
