package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/lfs"
)

// needLFS skips the test if git-lfs is missing.
func (w *world) needLFS() {
	w.t.Helper()
	if _, err := exec.LookPath("git-lfs"); err != nil {
		w.t.Skip("missing: git-lfs")
	}
	w.mustGit("lfs", "install", "--skip-repo")
}

func TestGitLFSPushesAndClones(t *testing.T) {
	if testing.Short() {
		t.Skip("runs git-lfs many times")
	}
	t.Parallel()
	for _, form := range []string{"GATEWAY/acme/widgets.git", "GATEWAY/git/github.com/ACME/Widgets", "https://github.com/acme/widgets", "git@github.com:acme/widgets.git"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, agents)
			w.needLFS()
			url := strings.Replace(form, "GATEWAY", w.url, 1)
			for _, forms := range []string{"https://github.com/", "git@github.com:"} {
				w.mustGit("config", "--global", "--add", "url."+w.url+"/.insteadOf", forms)
			}
			w.clone()
			w.mustGit("remote", "set-url", "origin", url)
			w.mustGit("lfs", "track", "*.bin")
			content := bytes.Repeat([]byte("large\n"), 50_000)
			if err := os.WriteFile(filepath.Join(w.dir, "a.bin"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			w.mustGit("add", ".")
			w.mustGit("commit", "-q", "-m", "large")
			w.mustGit("push", "-q", "origin", "HEAD:agent/sb-agent/x")
			if got := w.LFSObjects("acme", "widgets"); len(got) != 1 {
				t.Errorf("objects = %q, want one", got)
			}
			dir := filepath.Join(t.TempDir(), "other")
			w.mustGit("clone", "-q", "-b", "agent/sb-agent/x", url, dir)
			if got, err := os.ReadFile(filepath.Join(dir, "a.bin")); err != nil || !bytes.Equal(got, content) {
				t.Errorf("the cloned file has %d bytes, %v, want %d", len(got), err, len(content))
			}
		})
	}
}

// lfsCall sends an LFS API message.
func (w *world) lfsCall(path, body string) (status int, answer []byte) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+"/acme/widgets.git/info/lfs/"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", lfs.MediaType)
	r.SetBasicAuth("x", w.session)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, answer
}

// stalledUpload begins an upload of size bytes that never ends.
func (w *world) stalledUpload(size int) net.Conn {
	w.t.Helper()
	sum := sha256.Sum256(make([]byte, size))
	status, answer := w.lfsCall("objects/batch", fmt.Sprintf(`{"operation":"upload","objects":[{"oid":%q,"size":%d}]}`, hex.EncodeToString(sum[:]), size))
	var batch struct {
		Objects []struct {
			Actions map[string]struct{ Href string }
		}
	}
	if err := json.Unmarshal(answer, &batch); err != nil || status != http.StatusOK {
		w.t.Fatalf("batch = %d %s", status, answer)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, batch.Objects[0].Actions["upload"].Href, bytes.NewReader(make([]byte, size)))
	if err != nil {
		w.t.Fatal(err)
	}
	r.SetBasicAuth("x", w.session)
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		w.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write(text.Bytes()[:text.Len()-size/2]); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func TestABlockCutsUploadsOfLargeFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go w.gateway.Watch(ctx)
	conn := w.stalledUpload(4096)
	for w.gateway.Running() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := w.Access.Broker.Blocklist.Add(ctx, blocklist.Target{Workspace: "sb-agent"}); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || len(got) != 0 {
		t.Errorf("the upload of a blocked workspace ended with %q, %v, want it cut within 5 s", got, err)
	}
	if got := w.LFSObjects("acme", "widgets"); len(got) != 0 {
		t.Errorf("objects = %q, want none", got)
	}
	if status, answer := w.lfsCall("objects/batch", "{}"); status != http.StatusForbidden {
		t.Errorf("a batch of a blocked workspace = %d %s, want 403", status, answer)
	}
}

func TestTransfersOfLargeFilesAreLimitedWithThoseOfGit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	w.set(func(s *gateway.Settings) { s.Transfers = 1 })
	w.stalledUpload(4096)
	for w.gateway.Running() == 0 {
		time.Sleep(time.Millisecond)
	}
	if out, ok := w.gitIn("", "clone", "-q", w.repo("acme/widgets"), t.TempDir()); ok || !strings.Contains(out, "has 1 running transfers already") {
		t.Errorf("a clone beside an upload = %q, want it refused", out)
	}
}

// git-lfs shows errors only in its own JSON, so the gateway uses that for every wrong
// URL.
func TestEveryRefusalOfLFSIsInItsForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	for path, status := range map[string]int{
		"/acme/widgets.wiki.git/info/lfs/objects/batch":          http.StatusForbidden,
		"/acme/widgets.git/info/lfs/objects":                     http.StatusNotFound,
		"/git/elsewhere.example/acme/widgets/info/lfs/locks":     http.StatusNotFound,
		"/git/github.com/acme/..%2fwidgets/info/lfs/locks":       http.StatusBadRequest,
		"/git/github.com/octo/widgets.git/info/lfs/locks/verify": http.StatusNotImplemented,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", lfs.MediaType)
		r.SetBasicAuth("x", w.session)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Message string }
		err = json.NewDecoder(response.Body).Decode(&said)
		response.Body.Close()
		if err != nil || response.StatusCode != status || !strings.HasPrefix(said.Message, "gatepass: ") || response.Header.Get("Content-Type") != lfs.MediaType {
			t.Errorf("%s = %d %q (%s), %v, want %d in the JSON of Git LFS", path, response.StatusCode, said.Message, response.Header.Get("Content-Type"), err, status)
		}
	}
}
