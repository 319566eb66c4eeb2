package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/credentialtest"
)

// A broker is a token source on a Unix socket that counts its calls.
type broker struct {
	credentialtest.Broker
	socket string
	server *http.Server
}

// startBroker serves host. token, when not empty, is the one it gives out, and
// delay is how long it takes.
func (b *bench) startBroker(host, token string, delay time.Duration) (*broker, error) {
	dir, err := b.beneath("broker")
	if err != nil {
		return nil, err
	}
	br := &broker{socket: filepath.Join(dir, "s")}
	br.Hosts = []string{host}
	br.Mint = func(_ string, r api.TokenRequest) (api.TokenAnswer, error) {
		time.Sleep(delay)
		answer := credentialtest.FreshAnswer(br.Calls(), r)
		if token != "" {
			answer.Token = api.NewSecret(token)
		}
		answer.ExpiresAt = time.Now().Add(credential.Lifetime)
		return answer, nil
	}
	l, err := net.Listen("unix", br.socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(br.socket, 0o600); err != nil {
		return nil, err
	}
	br.server = &http.Server{Handler: br, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = br.server.Serve(l) }()
	return br, nil
}

func (br *broker) close() { _ = br.server.Close() }

// line is the source in a workspace file.
func (br *broker) line() string { return "source: broker+unix://" + br.socket }
