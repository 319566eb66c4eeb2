package fakegithub

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// processesIn counts the processes that work in a directory of the server.
func processesIn(t *testing.T, root string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil || len(links) == 0 {
		t.Skip("no /proc to look for processes in")
	}
	n := 0
	for _, link := range links {
		if dir, err := os.Readlink(link); err == nil && strings.HasPrefix(dir, root) {
			n++
		}
	}
	return n
}

// startedClone requests a pack far bigger than the buffers of a connection, and reads
// only its beginning, so that git is busy until it is killed.
func (w *world) startedClone() (leave func()) {
	w.t.Helper()
	ws := w.workspace(w.token(mayWrite))
	ws.clone("acme/widgets")
	big := make([]byte, 16<<20)
	_, _ = rand.Read(big)
	ws.commit("big.bin", big)
	ws.git("push", "--quiet", "origin", "HEAD:main")
	want := branch(w.t, w.stored("widgets"), "main")
	body := fmt.Sprintf("0032want %s\n00000009done\n", want)
	req, err := http.NewRequestWithContext(w.t.Context(), "POST", w.gh.URL()+"/acme/widgets/git-upload-pack", strings.NewReader(body))
	w.must(err)
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+ws.token)))
	req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	client := w.gh.Client()
	res, err := client.Do(req)
	w.must(err)
	if _, err := bufio.NewReader(res.Body).ReadByte(); err != nil {
		w.t.Fatal(err)
	}
	return func() { res.Body.Close(); client.CloseIdleConnections() }
}

func TestGitEndsWhenTheClientLeaves(t *testing.T) {
	root := t.TempDir()
	w := newWorld(t, Options{Root: root})
	leave := w.startedClone()
	if processesIn(t, root) == 0 {
		t.Fatal("no git is running, want one in the middle of its answer")
	}
	leave()
	eventually(t, "git ends", func() bool { return processesIn(t, root) == 0 })
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	root := t.TempDir()
	w := newWorld(t, Options{Root: root})
	leave := w.startedClone()
	start := time.Now()
	if err := w.gh.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Close took %s, want that nothing is waited for", took)
	}
	eventually(t, "git ends", func() bool { return processesIn(t, root) == 0 })
	leave()
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	if _, err := os.Stat(w.gh.home); !os.IsNotExist(err) {
		t.Errorf("the empty HOME is still there: %v", err)
	}
}

// A request that is never completed does not delay Close.
func TestCloseDuringAnUpload(t *testing.T) {
	w := newWorld(t, Options{})
	body, stall := io.Pipe()
	defer stall.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.gh.URL()+"/acme/widgets/git-receive-pack", body)
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.token(mayWrite))
	req.Header.Set("Content-Type", "application/x-git-receive-pack-request")
	client := w.gh.Client()
	defer client.CloseIdleConnections()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	eventually(t, "the request arrives", func() bool { return len(w.gh.Requests()) > 0 })
	time.Sleep(20 * time.Millisecond) // git has started
	if err := w.gh.Close(); err != nil {
		t.Error(err)
	}
	stall.Close()
	<-done
}

func TestCloseRemovesOnlyItsOwnRoot(t *testing.T) {
	mine := t.TempDir()
	for _, root := range []string{"", mine} {
		gh, err := New(Options{Root: root, HandlerOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		made := gh.opts.Root
		if err := gh.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(made); os.IsNotExist(err) == (root == mine) {
			t.Errorf("root %q after Close: %v", root, err)
		}
		if err := gh.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

func TestNewNeedsGit(t *testing.T) {
	if _, err := New(Options{Git: filepath.Join(t.TempDir(), "git")}); err == nil {
		t.Error("New found a git that is not there")
	}
}

// The parent's git variables and configuration do not reach the children.
func TestGitIsIsolated(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[uploadpack]\n\thideRefs = refs/heads\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("GIT_DIR", home)
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "transfer.hideRefs")
	t.Setenv("GIT_CONFIG_VALUE_0", "refs/heads")
	w := newWorld(t, Options{})
	out := w.workspace("").git("ls-remote", w.gh.URL()+"/acme/site")
	if !strings.Contains(out, "refs/heads/main") {
		t.Errorf("ls-remote = %q, want the branch main", out)
	}
}

// In a bubble the hour passes at once, by the caller's clock and no network.
func TestTransportInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gh, err := New(Options{HandlerOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer gh.Close()
		app, err := gh.AddApp(App{Permissions: mayRead})
		if err != nil {
			t.Fatal(err)
		}
		inst, err := gh.AddInstallation(Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
		if err != nil {
			t.Fatal(err)
		}
		token, err := gh.MintFor(inst.ID, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		try := func(want int) {
			t.Helper()
			req, _ := http.NewRequestWithContext(t.Context(), "GET", gh.URL()+"/api/v3/installation/repositories", nil)
			req.Header.Set("Authorization", "token "+token)
			res, err := gh.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if res.Body.Close(); res.StatusCode != want {
				t.Errorf("status = %d, want %d", res.StatusCode, want)
			}
		}
		try(200)
		time.Sleep(time.Hour)
		try(401)
		gh.Fail(To("", ""), Reset(), 1)
		req, _ := http.NewRequestWithContext(t.Context(), "GET", gh.URL()+"/rate_limit", nil)
		if _, err := gh.Client().Do(req); err == nil {
			t.Error("a reset got an answer")
		}
	})
}

func TestCertificateIsForFurtherNames(t *testing.T) {
	w := newWorld(t, Options{Names: []string{"api.github.test"}})
	for name, isFor := range map[string]bool{"127.0.0.1": true, "localhost": true, "api.github.test": true, "github.test": false} {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(w.gh.CAPEM())
		conn, err := tls.Dial("tcp", w.gh.Host(), &tls.Config{RootCAs: roots, ServerName: name})
		if (err == nil) != isFor {
			t.Errorf("a client that calls %s is told %v, want the certificate to be for it: %v", name, err, isFor)
		}
		if err == nil {
			w.must(conn.Close())
		}
	}
}
