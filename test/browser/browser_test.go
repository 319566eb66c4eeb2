//go:build linux

// Package browser drives the pages of gatepass in a real Chromium, against the
// double of GitHub. It is a package of its own because the browser's driver takes
// long to compile.
package browser

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// patience bounds every wait for the browser, which a busy machine makes slow.
const patience = time.Minute

// A world is a GitHub at which octocat, who owns acme, is signed in, and a
// browser.
type world struct {
	*fakegithub.Server
	t        *testing.T
	home, ca string
	tab      context.Context

	mu         sync.Mutex // guards complaints
	complaints []string   // of the browser, about pages
}

// newWorld skips without Chromium and the program.
func newWorld(t *testing.T) *world {
	t.Helper()
	chromium, bin := os.Getenv("GATEPASS_TEST_CHROMIUM"), os.Getenv("GATEPASS_TEST_BIN_DIR")
	if chromium == "" || bin == "" {
		t.Skip("missing: Chromium (make test-real sets GATEPASS_TEST_CHROMIUM and GATEPASS_TEST_BIN_DIR)")
	}
	gh, err := fakegithub.New(fakegithub.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w := &world{Server: gh, t: t, home: t.TempDir(), ca: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(w.ca, gh.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	w.signIn("octocat", "acme")
	w.startBrowser(chromium)
	return w
}

func (w *world) signIn(login string, organizations ...string) {
	w.t.Helper()
	if err := w.SignIn(login, organizations...); err != nil {
		w.t.Fatal(err)
	}
}

// localhost is this GitHub by its other name. To a browser, localhost is another
// site than 127.0.0.1, where the page is, just as the real GitHub is.
func (w *world) localhost() string { return strings.Replace(w.URL(), "127.0.0.1", "localhost", 1) }

// startBrowser runs Chromium in a process group of its own, which ends with the
// test.
func (w *world) startBrowser(chromium string) {
	w.t.Helper()
	var process *exec.Cmd
	scratch, err := os.MkdirTemp("/tmp", "gpc") // short, because Chromium puts a socket into it
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(scratch) })
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium), chromedp.UserDataDir(w.t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("ignore-certificate-errors-spki-list", w.publicKey()),
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			cmd.Env = []string{"HOME=" + w.home, "TMPDIR=" + scratch} // a killed browser cleans nothing up
			process = cmd
		}),
	}
	for _, name := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage", "disable-default-apps"} {
		options = append(options, chromedp.Flag(name, true))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	tab, leave := chromedp.NewContext(allocator)
	w.t.Cleanup(func() {
		leave()
		if process != nil && process.Process != nil {
			_ = syscall.Kill(-process.Process.Pid, syscall.SIGKILL)
		}
		stop()
	})
	late := time.AfterFunc(patience, leave) // a deadline of tab would bound the browser's life
	defer late.Stop()
	if err := chromedp.Listen(tab, w.listen); err != nil {
		w.t.Fatalf("start %s: %v", chromium, err)
	}
	w.tab = tab
}

// publicKey is how Chromium is told to trust this GitHub's certificate: the hash
// of its SubjectPublicKeyInfo.
func (w *world) publicKey() string {
	w.t.Helper()
	conn, err := tls.Dial("tcp", w.Host(), &tls.Config{InsecureSkipVerify: true}) // it is our own, a moment old
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (w *world) listen(event any) {
	if e, ok := event.(*log.EventEntryAdded); ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.complaints = append(w.complaints, e.Entry.Text)
	}
}

// complained returns what the browser complained of since it was last asked.
func (w *world) complained() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.complaints
	w.complaints = nil
	return said
}

// do has the browser do things, one after the other.
func (w *world) do(steps ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	run(w, chromedp.Steps(steps...))
}

// run has the browser do one thing that has a value.
func run[T any](w *world, action chromedp.Action[T]) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.tab, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		ctx, cancel := context.WithTimeout(w.tab, time.Second)
		defer cancel()
		at, _ := chromedp.Run(ctx, chromedp.Location())
		text, _ := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
		w.t.Fatalf("the browser at %s: %v; it shows\n%s\nand complains of %q", at, err, text, w.complained())
	}
	return value
}

// text returns what is shown of an element.
func (w *world) text(selector chromedp.CSS) string {
	w.t.Helper()
	return run(w, chromedp.Text(selector))
}

// evaluate runs JavaScript of the test's, which no page can.
func evaluate[T any](w *world, script string) T {
	w.t.Helper()
	return run(w, chromedp.Evaluate[T](script))
}

// A creation is "gatepass app create" on its way.
type creation struct {
	t       *testing.T
	cmd     *exec.Cmd
	out     *bufio.Reader
	errs    bytes.Buffer
	address string
}

var addressOf = regexp.MustCompile(`http://127\.0\.0\.1:\d+/\w+/`)

func (w *world) create(args ...string) *creation {
	w.t.Helper()
	c := &creation{t: w.t}
	c.cmd = exec.CommandContext(w.t.Context(), filepath.Join(os.Getenv("GATEPASS_TEST_BIN_DIR"), "gatepass"), append([]string{"app", "create", "--no-browser"}, args...)...)
	c.cmd.Env = []string{"HOME=" + w.home, "SSL_CERT_FILE=" + w.ca, "GATEPASS_GITHUB_URL=" + w.localhost(), "GATEPASS_STORE=file://" + w.store()}
	c.cmd.Stderr = &c.errs
	stdout, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	c.out = bufio.NewReader(stdout)
	first, _ := c.out.ReadString('\n')
	if c.address = addressOf.FindString(first); c.address == "" {
		_ = c.cmd.Wait()
		w.t.Fatalf("app create says %q and %q, want its address", first, &c.errs)
	}
	return c
}

func (w *world) store() string { return filepath.Join(w.home, "store") }

// wait returns the rest of what the program wrote, and its exit code.
func (c *creation) wait() (stdout, stderr string, status int) {
	c.t.Helper()
	late := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	rest, _ := io.ReadAll(c.out)
	_ = c.cmd.Wait() // its exit code says all
	return string(rest), c.errs.String(), c.cmd.ProcessState.ExitCode()
}
