//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/test/freeport"
)

// An awsEmulator is a running moto_server. It listens on loopback only.
type awsEmulator struct {
	url  string
	stop func()
}

// env returns the variables by which a test reaches the emulator. moto accepts any key.
func (a awsEmulator) env() []string {
	return []string{
		"GATEPASS_TEST_AWS_ENDPOINT=" + a.url,
		"AWS_ACCESS_KEY_ID=test",
		"AWS_SECRET_ACCESS_KEY=test",
		"AWS_REGION=us-east-1",
	}
}

// startAWS runs moto_server in the chroot and waits until it answers. The port is free
// when it is chosen. If another program takes it in the meantime, moto_server ends at
// once and startAWS tries another port.
func startAWS(ctx context.Context, c chroot, scratch string) (awsEmulator, error) {
	var err error
	for range 3 {
		var a awsEmulator
		if a, err = tryAWS(ctx, c, scratch); err == nil {
			return a, nil
		}
	}
	return awsEmulator{}, fmt.Errorf("start the AWS emulator: %w", err)
}

func tryAWS(ctx context.Context, c chroot, scratch string) (awsEmulator, error) {
	port, err := freePort()
	if err != nil {
		return awsEmulator{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := c.command(ctx, entry{scratch: scratch}, "moto_server", "-H", "127.0.0.1", "-p", strconv.Itoa(port))
	// Read it only after ended is closed: until then the process writes to it.
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		return awsEmulator{}, err
	}
	ended := make(chan struct{})
	go waitFor(cmd, ended)
	a := awsEmulator{
		url:  fmt.Sprintf("http://127.0.0.1:%d", port),
		stop: func() { cancel(); <-ended },
	}
	if err := ready(ctx, loopback(nil), a.url+"/moto-api/", ended); err != nil {
		a.stop()
		return awsEmulator{}, fmt.Errorf("%w: %s", err, lastLines(log.String(), 3))
	}
	return a, nil
}

func waitFor(cmd *exec.Cmd, ended chan<- struct{}) {
	cmd.Wait()
	close(ended)
}

// ready waits up to two minutes for url to answer 200. It gives up if the process has
// ended, because another process may then answer.
func ready(ctx context.Context, client *http.Client, url string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		select {
		case <-ended:
			return errors.New("it ended before it answered")
		case <-ctx.Done():
			return fmt.Errorf("no answer from %s: %w", url, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
		if answers(ctx, client, url) {
			return nil
		}
	}
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// loopback returns a client that uses no proxy. nil roots mean the system's.
func loopback(roots *x509.CertPool) *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
}

func freePort() (int, error) {
	address, err := freeport.Address()
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
