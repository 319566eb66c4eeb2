package gateway_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
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

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/pktline"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// grow commits a file that does not compress.
func (w *world) grow(size int64) {
	w.t.Helper()
	noise, _ := io.ReadAll(io.LimitReader(rand.Reader, size))
	if err := os.WriteFile(filepath.Join(w.dir, "noise"), noise, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.mustGit("add", "noise")
	w.mustGit("commit", "-q", "-m", "noise")
}

// newAged makes a world with a clone, whose push token is old enough for all of
// GitHub's servers to know it.
func newAged(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, agents)
	w.clone()
	w.aged()
	return w
}

// aged makes the existing tokens old enough for all of GitHub's servers to know them.
func (w *world) aged() {
	w.t.Helper()
	w.mustGit("push", "-q", "origin", "HEAD:refs/tags/v0")
	w.Advance(2 * time.Minute)
	w.session = w.Session("")
}

const work = "refs/heads/agent/sb-agent/work"

func isPush(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack")
}

// Whatever happens to GitHub's answer, git says that the push failed, the audit log
// says what is known, and it says "ok" only if GitHub said so.
func TestGitHubFailsDuringAPush(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes many times")
	}
	t.Parallel()
	for _, isNew := range []bool{true, false} {
		w := newWorld(t, agents)
		w.clone()
		if !isNew {
			w.aged()
		}
		for _, c := range []struct {
			name    string
			fault   fakegithub.Fault
			prints  string
			outcome string
		}{
			{"an error", fakegithub.Status(500), "(gatepass: GitHub answered 500", ""},
			{"a refusal", fakegithub.Status(403), "(gatepass: GitHub refuses", "failed"},
			{"no answer", fakegithub.Reset(), "(gatepass: GitHub", ""},
			{"half an answer", fakegithub.Truncate(20), "", "unknown"},
		} {
			if isNew && c.name == "a refusal" {
				continue // GitHub may not know the token yet: see TestANewTokenThatGitHubDoesNotKnowYet
			}
			cancel := w.Fail(isPush, c.fault, -1)
			before := len(w.Journal.Of(broker.KindPush))
			out, ok := w.git("push", "origin", "HEAD:"+work)
			cancel()
			if ok || !strings.Contains(out, c.prints) || strings.Contains(out, "[new branch]") {
				t.Errorf("%s: git push prints (exit 0: %v)\n%s\nwant %q", c.name, ok, out, c.prints)
			}
			entries := w.Journal.Of(broker.KindPush)[before:]
			last := entries[len(entries)-1]
			if last.Outcome == "ok" || last.Outcome == "" || c.outcome != "" && last.Outcome != c.outcome || last.Ref != work {
				t.Errorf("%s: the audit log has %+v, want the outcome %q", c.name, last, c.outcome)
			}
		}
		if out, ok := w.git("push", "origin", "HEAD:refs/heads/agent/sb-agent/after"); !ok {
			t.Errorf("git push once GitHub is well again: %s", out)
		}
	}
}

// A push that cannot be recorded is not forwarded.
func TestAPushWithoutAnAuditLog(t *testing.T) {
	t.Parallel()
	w := newAged(t)
	pushes := w.pushes()
	push := func(ref string) (string, bool) { return w.git("push", "origin", "HEAD:"+ref) }
	w.Journal.Fail(errors.New("no space"))
	if out, ok := push(work); ok || !strings.Contains(out, "audit log cannot be written") {
		t.Errorf("git push prints (exit 0: %v) %s, want that the audit log cannot be written", ok, out)
	}
	if n := w.pushes() - pushes; n != 0 {
		t.Errorf("GitHub was sent %d pushes, want none", n)
	}
	w.Journal.Fail(nil)
	if out, ok := push(work); !ok {
		t.Errorf("git push once it can be written again: %s", out)
	}
}

func TestTooLargeAPack(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes large packs")
	}
	t.Parallel()
	w := newAged(t)
	w.set(func(s *gateway.Settings) { s.MaxPack = 1 << 20 })
	w.grow(3 << 20)
	for _, config := range []string{"http.postBuffer=100m", "http.postBuffer=64k"} { // with a length, and chunked
		out, ok := w.git("-c", config, "push", "origin", "HEAD:"+work)
		want := "! [remote rejected] HEAD -> agent/sb-agent/work (gatepass: the push is larger than 1048576 bytes; push in smaller steps)"
		if ok || !strings.Contains(out, want) {
			t.Errorf("%s: git push prints (exit 0: %v)\n%s\nwant %q", config, ok, out, want)
		}
		if got := w.ref(work); got != "" {
			t.Errorf("%s: GitHub has %s, want nothing", config, got)
		}
	}
	w.set(func(s *gateway.Settings) { s.MaxPack = 4 << 20 })
	if out, ok := w.git("push", "origin", "HEAD:"+work); !ok {
		t.Errorf("git push of a pack within the limit: %s", out)
	}
}

// A refused push is read to its end, because git does not read an answer while it
// sends.
func TestALargeRefusedPushIsReadable(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes large packs")
	}
	t.Parallel()
	w := newWorld(t, agents)
	w.clone()
	w.grow(8 << 20)
	out, ok := w.git("push", "origin", "HEAD:main")
	if ok || !strings.Contains(out, "! [remote rejected] HEAD -> main (gatepass: no rule allows it (update))") || strings.Contains(out, "up-to-date") {
		t.Errorf("git push prints (exit 0: %v) %s", ok, out)
	}
}

// raw sends a push request that git would not send, and returns the status and the
// answer.
func (w *world) raw(body io.Reader, set func(*http.Request)) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.repo("acme/widgets")+"/git-receive-pack", body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-git-receive-pack-request")
	r.SetBasicAuth("x", w.session)
	if set != nil {
		set(r)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(answer)
}

const (
	zeros = "0000000000000000000000000000000000000000"
	ones  = "1111111111111111111111111111111111111111"
)

func head(commands ...string) string {
	var b []byte
	for _, c := range commands {
		b = pktline.Append(b, c)
	}
	return string(b) + pktline.FlushPacket
}

func TestRawPushes(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newAged(t)
	pushes := w.pushes()
	zip := func(text string) io.Reader {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		return &b
	}
	gzipped := func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }
	create := zeros + " " + ones + " "
	for _, c := range []struct {
		name   string
		body   io.Reader
		set    func(*http.Request)
		status int
		want   string
	}{
		{"a probe", strings.NewReader("0000"), nil, 200, ""},
		{"a client that reads no report", strings.NewReader(head(create + "refs/heads/agent/sb-agent/x\x00")), nil, 403, "report-status"},
		{"another terminator", strings.NewReader(strings.TrimSuffix(head(create+"refs/heads/agent/sb-agent/x\x00 report-status"), "0000") + "0001"), nil, 400, "cannot be read"},
		{"a second command behind a NUL", strings.NewReader(head(create+"refs/heads/agent/sb-agent/x\x00 report-status", create+"refs/heads/main\x00/agent")), nil, 400, "cannot be read"},
		{"a refused push in gzip", zip(head(create + "refs/heads/main\x00 report-status")), gzipped, 200, "ng refs/heads/main gatepass: "},
		{"what is no gzip", strings.NewReader("0000"), gzipped, 400, "gzip"},
		{"another encoding", strings.NewReader("0000"), func(r *http.Request) { r.Header.Set("Content-Encoding", "br") }, 415, "Content-Encoding"},
		{"another type", strings.NewReader("0000"), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415, "Content-Type"},
		{"push options", strings.NewReader(head(create+"refs/heads/agent/sb-agent/x\x00 report-status push-options") + "0000"), nil, 200, "ng refs/heads/agent/sb-agent/x gatepass: "},
		{"no identity", strings.NewReader("0000"), func(r *http.Request) { r.Header.Del("Authorization") }, 401, "gatepass: "},
		{"more commands than there may be", strings.NewReader(strings.Repeat(strings.TrimSuffix(head(create+"refs/heads/agent/sb-agent/x"), "0000"), 30000)), nil, 400, "cannot be read"},
	} {
		status, answer := w.raw(c.body, c.set)
		if status != c.status || !strings.Contains(answer, c.want) {
			t.Errorf("%s: %d %q, want %d with %q", c.name, status, answer, c.status, c.want)
		}
	}
	if n := w.pushes() - pushes; n != 0 {
		t.Errorf("GitHub was sent %d pushes, want none", n)
	}
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it does not come about within 5 s")
}

// pushBody returns the body that git would send for a push of HEAD.
func (w *world) pushBody(ref string) []byte {
	w.t.Helper()
	pack := exec.Command("git", "-C", w.dir, "pack-objects", "--revs", "--stdout", "-q")
	pack.Stdin = strings.NewReader("HEAD\n")
	data, err := pack.Output()
	if err != nil {
		w.t.Fatal(err)
	}
	command := zeros + " " + w.mustGit("rev-parse", "HEAD") + " " + ref + "\x00 report-status side-band-64k object-format=sha1"
	return append([]byte(head(command)), data...)
}

// Wherever a client breaks off, no ref moves.
func TestAPushThatBreaksOff(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	w := newWorld(t, agents)
	w.clone()
	w.grow(40 << 10)
	w.aged()
	w.set(func(s *gateway.Settings) { s.Transfers = 1000 }) // some that broke off may still count
	whole := w.pushBody(work)
	session := "Authorization: Basic " + basic(w.session)
	for cut := 1; cut < len(whole); cut += 4 << 10 {
		for _, form := range []string{"Content-Length: " + fmt.Sprint(len(whole)), "Transfer-Encoding: chunked"} {
			c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "POST /acme/widgets.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-receive-pack-request\r\n%s\r\n%s\r\n\r\n", session, form)
			if strings.HasPrefix(form, "Transfer") {
				fmt.Fprintf(c, "%x\r\n%s\r\n", cut, whole[:cut])
			} else {
				_, _ = c.Write(whole[:cut])
			}
			_ = c.Close()
		}
	}
	waitFor(t, func() bool { return w.gateway.Running() == 0 })
	if got := w.ref(work); got != "" {
		t.Fatalf("GitHub has %s, want nothing", got)
	}
	if status, answer := w.raw(bytes.NewReader(whole), nil); status != 200 || !strings.Contains(answer, "ok "+work) {
		t.Errorf("the whole of it: %d %q, want that it moves the ref", status, answer)
	}
}

func basic(password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth("x", password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// The traces that git can write into files.
var traces = []string{"GIT_TRACE", "GIT_TRACE_CURL", "GIT_TRACE_PACKET", "GIT_TRACE2", "GIT_TRACE2_EVENT", "GIT_TRACE2_PERF"}

// traced runs git with every trace, not redacted, in files of the folder that have the
// traces' names. It returns what git printed.
func (w *world) traced(folder string, args ...string) string {
	w.t.Helper()
	const helper = `credential.helper=!f() { test "$1" = get && echo username=x && echo "password=$SESSION"; }; f`
	cmd := exec.CommandContext(w.t.Context(), "git", append([]string{"-c", helper}, args...)...)
	cmd.Dir, cmd.Env = w.home, append(w.env(), "GIT_TRACE_REDACT=0")
	for _, name := range traces {
		cmd.Env = append(cmd.Env, name+"="+filepath.Join(folder, name))
	}
	out, _ := cmd.CombinedOutput() // some commands are refused
	return string(out)
}

// Nothing that a workspace sees contains a GitHub token.
func TestNoTokenReachesTheWorkspace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, agents)
	clone, folder := w.home+"/c", t.TempDir()
	seen := ""
	for _, c := range []struct{ args, prints string }{
		{"clone " + w.repo("acme/widgets") + " " + clone, "Cloning"},
		{"-C " + clone + " push origin HEAD:refs/tags/v1", "[new tag]"},
		{"-C " + clone + " push origin HEAD:refs/heads/elsewhere", "[remote rejected]"},
		{"-C " + clone + " -c http.verbose=true fetch origin main", "FETCH_HEAD"},
		{"ls-remote " + w.repo("acme/other"), "403"},
	} {
		out := w.traced(folder, strings.Fields(c.args)...)
		if !strings.Contains(out, c.prints) {
			t.Errorf("git %s prints %s, want %q", c.args, out, c.prints)
		}
		seen += out
	}
	for _, name := range traces {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || !bytes.Contains(text, []byte("refs/tags/v1")) {
			t.Errorf("%s has %d bytes (%v) without a push", name, len(text), err)
		}
		seen += string(text)
	}
	_ = filepath.WalkDir(w.home, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.Type().IsRegular() {
			text, _ := os.ReadFile(path)
			seen += string(text)
		}
		return nil
	})
	if len(w.Tokens()) < 2 || !strings.Contains(seen, basic(w.session)) {
		t.Fatalf("%d tokens were minted, and the traces have the session: %v; the test does not see enough", len(w.Tokens()), strings.Contains(seen, basic(w.session)))
	}
	if i := strings.Index(seen, "ghs_"); i >= 0 {
		t.Errorf("a workspace sees %.40q", seen[i:])
	}
}
