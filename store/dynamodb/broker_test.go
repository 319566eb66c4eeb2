//go:build linux

package dynamodb_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"
	"github.com/gatepass/gatepass/test/testkey"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/dynamotest"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/stacktest"
)

const brokerConfig = `listen: unix://%[1]s/broker.sock
store: %[2]s
github_url: %[3]s
hosts: [github.com]
audit: %[1]s/audit.jsonl
profiles: ["%[1]s/*.yaml"]
callers:
  - socket: {uid: %[4]d}
    workspace: sb-1
    profile: agent
`

const agentProfile = "metadata: {name: agent}\nspec: {sourceAccess: {github: {allowedRepos: [\"acme/*\"], permissions: [push]}}}\n"

// A broker gives a token, has it in the table, and refuses a workspace that was blocked;
// everything that it asks of the table its policy allows.
func TestABrokersCallsAreAllowed(t *testing.T) {
	endpoint, programs := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT"), os.Getenv("GATEPASS_TEST_BIN_DIR")
	if endpoint == "" || programs == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server, and GATEPASS_TEST_BIN_DIR to where the programs are)")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	table, err := dynamotest.NewTable(t.Context(), endpoint)
	if err != nil {
		t.Fatal(err)
	}
	address := "dynamodb://" + table + "?region=us-east-1&endpoint="
	s, err := issuing.OpenStore(address + url.QueryEscape(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	gh := newGitHub(t, s)
	aws := stacktest.Record(t, endpoint)
	ask := startBroker(t, gh, filepath.Join(programs, "gatepass-broker"), address+url.QueryEscape(aws.URL))

	until(t, "a token is given", func() bool { return ask() == http.StatusOK })
	if given := below(t, s, "sandbox/sb-1/vended/"); given != 1 {
		t.Errorf("the table has %d given tokens, want one", given)
	}
	if err := (&blocklist.List{Store: s}).Block(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	until(t, "the workspace is refused", func() bool { return ask() == http.StatusForbidden })
	calls := aws.Calls()
	stacktest.CheckAllowed(t, calls, stacktest.New(t, "dynamodb.yaml").Policy("BrokerPolicy"))
	for _, action := range []string{"GetItem", "PutItem", "Query"} {
		if !slices.ContainsFunc(calls, func(c stacktest.Call) bool { return strings.HasSuffix(c.Operation, "."+action) }) {
			t.Errorf("%s was never called, so that this test shows little", action)
		}
	}
}

// newGitHub is a double with an App, whose credentials are in the store.
func newGitHub(t *testing.T, s store.Store) *fakegithub.Server {
	t.Helper()
	key := testkey.RSA(2048, 0)
	gh, err := fakegithub.New(fakegithub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	app, err := gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&key.PublicKey}, Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		t.Fatal(err)
	}
	if _, err := gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"}); err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	c := issuing.Credentials{ID: app.ClientID, PrivateKey: store.NewSecret(string(text)), GitHub: gh.URL()}
	if err := issuing.Save(t.Context(), s, c, store.CreateOnly); err != nil {
		t.Fatal(err)
	}
	return gh
}

// startBroker starts the program, and returns a function that asks it for a token and
// returns the status, 0 for no answer.
func startBroker(t *testing.T, gh *fakegithub.Server, program, storeURL string) (ask func() int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gpd") // short, because a socket is in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, text := range map[string]string{
		"ca.pem": string(gh.CAPEM()), "agent.yaml": agentProfile,
		"broker.conf": fmt.Sprintf(brokerConfig, dir, storeURL, gh.URL(), os.Getuid()),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer // read once the program has ended
	cmd := exec.Command(program, "--config", filepath.Join(dir, "broker.conf"))
	cmd.Env = []string{"SSL_CERT_FILE=" + filepath.Join(dir, "ca.pem"), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "HOME=" + dir}
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() || strings.Contains(log.String(), "ghs_") {
			t.Errorf("the broker's log: %s", log.String())
		}
	})
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "broker.sock"))
		},
	}}
	return func() int {
		answer, err := client.Post("http://broker/v1/token", "application/json", strings.NewReader(`{"host":"github.com","repo":"acme/widgets","operation":"read"}`))
		if err != nil {
			return 0
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
}

// until waits for something, at most a minute.
func until(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if isSo() {
			return
		}
	}
	t.Fatalf("it does not come that %s", what)
}

// below counts the names that begin so.
func below(t *testing.T, s store.Store, prefix string) (n int) {
	t.Helper()
	for name, err := range s.List(t.Context(), store.Workspaces()) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name.String(), prefix) {
			n++
		}
	}
	return n
}
