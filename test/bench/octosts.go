package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gatepass/gatepass/test/extbuild"
)

const (
	octoIdentity = "bench"
	githubAPI    = "api.github.com" // built into octo-sts 0.8
)

// octoPolicy is the policy that octo-sts reads in a repository: every workspace of the
// issuer may read it.
func octoPolicy(issuer string) map[string]string {
	return map[string]string{
		".github/chainguard/" + octoIdentity + ".sts.yaml": "issuer: " + issuer + "\nsubject_pattern: w-[0-9]+\naudience: gatepass\npermissions:\n  contents: read\n",
	}
}

// An octoSTS is a running server for the App and the GitHub of a broker.
type octoSTS struct {
	url   string
	proxy *httptest.Server
	cmd   *exec.Cmd
}

// startOctoSTS starts the server. It leads calls of GitHub to the double, and blocks
// all others. The server has a setting for its port, but none for its address.
func (b vendBench) startOctoSTS(program string, v *brokerSetup) (*octoSTS, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if err := v.writeOctoSTSConfig(); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(v.fleet.dir, "octo-log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	o := &octoSTS{url: "http://" + address, proxy: httptest.NewServer(proxyTo(v.fleet.github.Host()))}
	o.cmd = exec.CommandContext(b.ctx, program)
	o.cmd.Dir, o.cmd.Env = v.fleet.dir, v.octoEnv(address, o.proxy.URL)
	o.cmd.Stdout, o.cmd.Stderr = log, log
	err = o.cmd.Start()
	if err == nil && !answers(http.DefaultClient, o.url, startWait) {
		said, _ := os.ReadFile(log.Name())
		err = fmt.Errorf("it does not answer: %.500s", said)
	}
	if err != nil {
		o.stop()
		return nil, err
	}
	return o, nil
}

// stop ends the server with a signal that it does not catch.
func (o *octoSTS) stop() {
	if o.cmd.Process != nil {
		_ = o.cmd.Process.Signal(syscall.SIGTERM)
		_ = o.cmd.Wait()
	}
	o.proxy.Close()
}

// octoEnv returns the server's whole environment.
func (v *brokerSetup) octoEnv(address, proxy string) []string {
	_, port, _ := strings.Cut(address, ":")
	return []string{
		"PORT=" + port, "STS_DOMAIN=gatepass", "METRICS=false", "HOME=" + v.fleet.dir,
		"GITHUB_APP_IDS=" + strconv.FormatInt(v.fleet.appID, 10), "APP_SECRET_CERTIFICATE_FILE=app.pem",
		"SSL_CERT_FILE=octo-ca.pem", "HTTPS_PROXY=" + proxy, "HTTP_PROXY=" + proxy,
	}
}

// writeOctoSTSConfig writes the App's key, and the certificates to trust: those of the
// double and the issuer.
func (v *brokerSetup) writeOctoSTSConfig() error {
	in := func(name string) string { return filepath.Join(v.fleet.dir, name) }
	issuer := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.issuing.Certificate().Raw})
	return firstOf(
		os.WriteFile(in("app.pem"), v.fleet.key, 0o600),
		os.WriteFile(in("octo-ca.pem"), append(v.fleet.github.CAPEM(), issuer...), 0o600),
	)
}

// proxyTo returns a proxy (RFC 9110, section 9.3.6) that leads api.github.com to host
// and refuses every other destination.
func proxyTo(host string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != githubAPI+":443" {
			http.Error(w, "only "+githubAPI, http.StatusForbidden)
			return
		}
		there, err := net.Dial("tcp", host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		go func() { _, _ = io.Copy(there, here); _ = there.(*net.TCPConn).CloseWrite() }()
		_, _ = io.Copy(here, there)
	}
}

// exchange makes one request of a workspace.
func (o *octoSTS) exchange(client *http.Client, identity, repo string) (string, error) {
	r, err := http.NewRequest(http.MethodGet, o.url+"/sts/exchange?"+url.Values{"scope": {repo}, "identity": {octoIdentity}}.Encode(), nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+identity)
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	var answer struct{ Token string }
	if err := json.Unmarshal(text, &answer); err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("it answers %s: %.200s", response.Status, text)
	}
	return answer.Token, nil
}

const (
	octoProgram = "octo-sts"
	octoPackage = "github.com/octo-sts/app"
	octoBuild   = 10 * time.Minute // limit; one core takes a minute and a half, plus the downloads
)

// octoModule is the nested module that requires the server.
var octoModule = extbuild.Module{Dir: "test/bench/octosts"}

// octoSTS returns the path of the program. It is built once, unless -quick is set.
func (b vendBench) octoSTS() (string, error) {
	cache, err := extbuild.CacheDir()
	if err != nil {
		return "", err
	}
	entry, err := octoModule.Entry(cache)
	if err != nil {
		return "", err
	}
	program := filepath.Join(entry, octoProgram)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if b.quick {
		return "", errors.New("not built yet, which takes a run without -quick")
	}
	fmt.Fprintf(b.log, "exchange: building %s, once, in about two minutes\n", octoProgram)
	ctx, cancel := context.WithTimeout(b.ctx, octoBuild)
	defer cancel()
	return program, octoModule.Build(ctx, cache, "-s -w", map[string]string{octoProgram: octoPackage + "/cmd/app"})
}
