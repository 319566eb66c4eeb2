package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/go-jose/go-jose/v4"
)

// A brokerProcess is a running gatepass-broker.
type brokerProcess struct {
	cmd   *exec.Cmd
	log   string        // the file with its output
	ended chan struct{} // closed when the process has ended
}

// freeAddress returns a loopback address with a free port.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startBroker starts the broker and waits until it listens.
func (p *playground) startBroker() (*brokerProcess, error) {
	b := &brokerProcess{log: filepath.Join(p.home, "broker.log"), ended: make(chan struct{})}
	log, err := os.OpenFile(b.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	b.cmd = exec.Command(filepath.Join(p.opts.BinDir, "gatepass-broker"), "--config", filepath.Join(p.home, "broker.yaml"))
	b.cmd.Env = []string{"PATH=" + p.opts.Path, "HOME=" + p.home, "SSL_CERT_FILE=" + p.env["SSL_CERT_FILE"]}
	b.cmd.Stdout, b.cmd.Stderr = log, log
	// The playground handles Ctrl-C itself, and then ends the broker.
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = b.cmd.Wait(); close(b.ended) }() // the log says how it ended
	pid := fmt.Sprintln(b.cmd.Process.Pid)
	if err := os.WriteFile(filepath.Join(p.home, "broker.pid"), []byte(pid), 0o600); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if err := b.listens(p.address); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

func (b *brokerProcess) listens(address string) error {
	for deadline := time.Now().Add(commandWait); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case <-b.ended:
			return errors.New("gatepass-broker does not start: " + b.lastWords())
		default:
		}
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			return c.Close()
		}
	}
	return errors.New("gatepass-broker does not listen: " + b.lastWords())
}

// stop ends the broker; it does nothing if b is nil.
func (b *brokerProcess) stop() error {
	if b == nil {
		return nil
	}
	_ = b.cmd.Process.Signal(syscall.SIGTERM) // the process may have ended already
	select {
	case <-b.ended:
		return nil
	case <-time.After(closeWait):
	}
	_ = b.cmd.Process.Kill()
	<-b.ended
	return errors.New("gatepass-broker did not end within " + closeWait.String() + "; it was killed")
}

// lastWords returns the last line of the broker's log.
func (b *brokerProcess) lastWords() string {
	data, err := os.ReadFile(b.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return usererr.Escape(lines[len(lines)-1])
}

// issuerName is the OpenID Connect issuer of the playground. No program connects to it:
// the broker has its keys in a file.
const issuerName = "https://ci.example"

// An issuer signs the identity of a CI job, like a CI system.
type issuer struct {
	keys  string // the file with the public key
	token string // such as "callers[0] ci", for audit and messages
	sign  jose.Signer
}

func newIssuer(keys, token string) (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}}
	text, err := json.Marshal(public)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(keys, text, 0o600); err != nil {
		return nil, err
	}
	sign, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	return &issuer{keys, token, sign}, err
}

// issue writes an identity that is valid for twice the time until the next one.
func (i *issuer) issue() error {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": issuerName, "aud": "gatepass", "sub": "repo:acme/widgets:ref:refs/heads/main", "repository": "acme/widgets",
		"run_id": "7", "iat": now.Unix(), "exp": now.Add(2 * jobEvery).Unix(),
	})
	if err != nil {
		return err
	}
	signed, err := i.sign.Sign(claims)
	if err != nil {
		return err
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return err
	}
	next := i.token + ".next" // replaced atomically: a reader never sees half of it
	if err := os.WriteFile(next, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, i.token)
}
