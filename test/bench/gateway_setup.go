package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// A gatewaySetup is a running broker that serves git, and the GitHub behind it.
type gatewaySetup struct {
	*brokerSetup
	up       *upstream
	ca       []byte // certificate of the upstream, PEM
	secure   string // URL of the broker with TLS; url is without TLS
	audit    string // the broker's audit log
	sessions []string
}

// startGateway starts a broker with sessions for a number of workspaces. If possible
// everything is in memory, except the audit log.
func (b gatewayBench) startGateway(workspaces, large int) (*gatewaySetup, error) {
	dir, err := os.MkdirTemp(memoryFolder(b.scratch), "gatepass-bench-")
	if err != nil {
		return nil, err
	}
	w := &gatewaySetup{brokerSetup: &brokerSetup{fleet: &fleet{dir: dir, ca: filepath.Join(dir, "ca.pem")}, issuer: benchIssuer, identities: map[int]string{}}}
	w.up, err = b.startUpstream(dir, large)
	if err == nil {
		err = w.settle(b.bench, workspaces)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *gatewaySetup) close() {
	w.brokerSetup.stop()
	if w.up != nil {
		w.up.stop()
	}
	w.fleet.close()
}

func (w *gatewaySetup) settle(b *bench, workspaces int) error {
	var err error
	if w.ca, err = os.ReadFile(w.fleet.ca); err != nil {
		return err
	}
	if w.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	another, err := freeAddress()
	if err != nil {
		return err
	}
	w.url, w.secure = "http://"+address, "https://"+another
	audit, err := b.tempDir("audit")
	if err != nil {
		return err
	}
	w.audit = filepath.Join(audit, "audit.jsonl")
	if err := w.write(); err != nil {
		return err
	}
	if err := w.start(b); err != nil {
		return err
	}
	w.sessions = make([]string, workspaces)
	client := w.client()
	defer client.CloseIdleConnections()
	return inParallel(workspaces, func(k int) (err error) {
		w.sessions[k], err = w.session(client, k)
		return err
	})
}

// write writes the broker's files.
func (w *gatewaySetup) write() error {
	cert, key, err := selfSigned()
	if err != nil {
		return err
	}
	w.certificate = cert
	in := func(name string) string { return filepath.Join(w.fleet.dir, name) }
	for name, text := range map[string][]byte{
		"tls.crt": cert, "tls.key": key, "jwks.json": w.jwks(),
		"profile.yaml": []byte("metadata: {name: fleet}\nspec: {sourceAccess: {github: {allowedRepos: [acme/*], allowedRefs: [\"agent/**\"], permissions: [push]}}}\n"),
		"broker.yaml": fmt.Appendf(nil, `listen: [%s, %s]
tls: {cert_file: %q, key_file: %q}
store: %q
audit: %q
profiles: [%q]
gateway: {}
callers:
  - oidc: {issuer: %s, audience: gatepass, jwks_file: %q}
    workspace: "{claim.sub}"
    profile: fleet
    tokens: none
`, w.url, w.secure, in("tls.crt"), in("tls.key"), w.fleet.storeURL(), w.audit, in("profile.yaml"), w.issuer, in("jwks.json")),
	} {
		if err := os.WriteFile(in(name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// restart restarts the broker and makes one request, so that its memory is that of an
// idle broker.
func (w *gatewaySetup) restart(b *bench) error {
	w.brokerSetup.stop()
	if err := w.start(b); err != nil {
		return err
	}
	m := w.gatewayClient(0)
	defer m.close()
	if err := m.push(1<<10, true, nil); err != nil {
		return err
	}
	return m.fetch(1<<10, nil)
}

// session returns a session of the gateway for a workspace.
func (w *gatewaySetup) session(client *http.Client, workspace int) (string, error) {
	r, err := http.NewRequest(http.MethodPost, w.url+"/v1/session", strings.NewReader("{}"))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+w.identity(workspace))
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var answer struct{ Session string }
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&answer); err != nil {
		return "", err
	}
	if answer.Session == "" {
		return "", errors.New("a session is answered " + response.Status)
	}
	return answer.Session, nil
}

// gatewayClient returns a client that uses the gateway.
func (w *gatewaySetup) gatewayClient(workspace int) *transferClient {
	return newTransferClient(w.url, "x", w.sessions[workspace], nil)
}

// secureClient returns a client that uses the gateway over TLS.
func (w *gatewaySetup) secureClient(workspace int) *transferClient {
	return newTransferClient(w.secure, "x", w.sessions[workspace], w.certificate)
}

// straight returns a client that uses the upstream directly.
func (w *gatewaySetup) straight() *transferClient {
	return newTransferClient(w.up.URL, "x-access-token", w.up.Token, w.ca)
}
