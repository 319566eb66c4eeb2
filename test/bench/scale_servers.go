package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatepass/gatepass/test/kubernetestest/controlplane"
)

// before returns a handler that forwards requests to a server.
func before(to string, transport http.RoundTripper) (http.Handler, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}, nil
}

// errNotSetUp reports that a component is missing.
var errNotSetUp = errors.New("it is not set up: run go run ./test/components setup")

// openVault starts the real Vault with storage in memory.
func (b scaleBench) openVault() (*measuredStore, error) {
	program, err := cached("vault-*/vault")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(b.ctx, program)
	stdin, err := cmd.StdinPipe() // the server ends when it is closed
	stdout, err2 := cmd.StdoutPipe()
	if err := firstOf(err, err2, cmd.Start()); err != nil {
		return nil, err
	}
	stop := func() { stdin.Close(); _ = cmd.Wait() }
	var said struct {
		Address   string `json:"address"`
		RootToken string `json:"root_token"`
	}
	err = json.NewDecoder(stdout).Decode(&said)
	var next http.Handler
	if err == nil {
		next, err = before(said.Address, &http.Transport{MaxIdleConnsPerHost: 64})
	}
	if err == nil {
		err = mountKV(said.Address, said.RootToken)
	}
	if err != nil {
		stop()
		return nil, err
	}
	sh := &measuredStore{name: "vault", env: []string{"VAULT_TOKEN=" + said.RootToken}, counter: &callCounter{nameOf: vaultOperation}, pid: cmd.Process.Pid}
	proxy := httptest.NewServer(sh.counter.wrap(next))
	of := func(address string) string { return "vault://scale/km?auth=token&addr=" + url.QueryEscape(address) }
	sh.url, sh.directURL = of(proxy.URL), of(said.Address)
	sh.stop = func() { proxy.Close(); stop() }
	return sh, setEnv(sh.env)
}

// mountKV mounts a KV engine of version 2 at scale/.
func mountKV(address, token string) error {
	r, err := http.NewRequest(http.MethodPost, address+"/v1/sys/mounts/scale", strings.NewReader(`{"type":"kv","options":{"version":"2"}}`))
	if err != nil {
		return err
	}
	r.Header.Set("X-Vault-Token", token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		return errors.New("Vault answers the mount of an engine with " + response.Status)
	}
	return nil
}

// cached returns the path of something that test/components has set up.
func cached(pattern string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	found, _ := filepath.Glob(filepath.Join(cache, "gatepass-test", pattern))
	if len(found) == 0 {
		return "", errNotSetUp
	}
	return found[len(found)-1], nil
}

// openKubernetes starts the real API server and its etcd.
func (b scaleBench) openKubernetes() (*measuredStore, error) {
	programs, err := kubeAssets()
	if err != nil {
		return nil, err
	}
	dir, err := b.tempDir("kubernetes")
	if err != nil {
		return nil, err
	}
	plane, err := controlplane.Start(b.ctx, controlplane.Options{Programs: programs, Dir: dir})
	if err != nil {
		return nil, err
	}
	sh := &measuredStore{name: "kubernetes", counter: &callCounter{nameOf: kubernetesOperation}, pid: plane.ServerPID()}
	config, err := clientcmd.BuildConfigFromFlags("", plane.Kubeconfig)
	var transport http.RoundTripper
	if err == nil {
		transport, err = rest.TransportFor(config)
	}
	var next http.Handler
	if err == nil {
		next, err = before(plane.URL, transport)
	}
	if err != nil {
		plane.Stop()
		return nil, err
	}
	proxy := httptest.NewTLSServer(sh.counter.wrap(next))
	kubeconfig := filepath.Join(dir, "counted.kubeconfig")
	of := func(path string) string { return "kubernetes://default?kubeconfig=" + url.QueryEscape(path) }
	sh.url, sh.directURL = of(kubeconfig), of(plane.Kubeconfig)
	sh.stop = func() { proxy.Close(); plane.Stop(); _ = os.RemoveAll(dir) }
	return sh, os.WriteFile(kubeconfig, kubeconfigOf(proxy), 0o600)
}

// kubeconfigOf returns the kubeconfig of a user with the proxy's permissions.
func kubeconfigOf(proxy *httptest.Server) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: scale
contexts: [{name: scale, context: {cluster: scale, user: scale}}]
clusters: [{name: scale, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: scale, user: {}}]
`, proxy.URL, base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})))
}
