package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// asProgram makes the test binary the program.
const asProgram = "GATEPASS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestRunUsage(t *testing.T) {
	for _, c := range []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{[]string{"--help"}, 0, "usage: gatepass-refresher", ""},
		{[]string{"--version"}, 0, "gatepass-refresher (devel)", ""},
		{[]string{"--what"}, 2, "", "gatepass: read the command line: flag provided but not defined: -what; see gatepass-refresher --help\n"},
		{[]string{"--store", "s3://x"}, 1, "", "gatepass: open the store: unknown store s3://"},
		{[]string{"--store", "file://" + t.TempDir() + "/store", "--payload", "-"}, 1, "", "gatepass: read the payload: it is not a JSON object\n"},
		{[]string{"--store", "file://" + t.TempDir() + "/store", "--payload", "/nowhere"}, 1, "", "no such file"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), c.args, env(), strings.NewReader("[]"), &stdout, &stderr)
		if status != c.status || !strings.HasPrefix(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) || (c.stdout == "") != (stdout.Len() == 0) {
			t.Errorf("run(%q) = %d, %q, %q, want %d, %q, %q", c.args, status, &stdout, &stderr, c.status, c.stdout, c.stderr)
		}
	}
}

// The help names every option and every variable, and the table of variables has every
// option that the environment can set.
func TestUsageIsWhole(t *testing.T) {
	var o options
	f := o.flags()
	for line := range strings.Lines(usage) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--"); ok && f.Lookup(strings.Fields(name)[0]) == nil {
			t.Errorf("the usage names --%s, which there is not", name)
		}
	}
	for variable, name := range variables {
		if f.Lookup(name) == nil || !strings.Contains(usage, "$"+variable) {
			t.Errorf("%s: option --%s, or the usage, lacks it", variable, name)
		}
	}
}

func TestOnceReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it waits
		w := newWorld(t)
		var ids []string
		for i := range maxFailures + 5 {
			ids = append(ids, fmt.Sprintf("sb-%d", i))
		}
		w.settle(ids...)
		once := func(args ...string) (stdout, stderr string, err error) {
			var out, errs bytes.Buffer
			err = w.refresher(args...).once(t.Context(), strings.NewReader(""), &out, &errs)
			return out.String(), errs.String(), err
		}
		stdout, stderr, err := once("--workspace", "sb-0")
		if err != nil || stderr != "" || !strings.HasPrefix(stdout, "1 of 1 workspaces were due, 1 refreshed; tokens: 1 minted, 0 revoked; the next one expires") || strings.Count(stdout, "\n") != 1 {
			t.Errorf("once = %v, %q, %q, want one line", err, stdout, stderr)
		}
		w.renameRepository()
		stdout, stderr, err = once("--json")
		var made report
		if jsonErr := json.Unmarshal([]byte(stdout), &made); jsonErr != nil || made.Failed != maxFailures+4 || len(made.Failures) != maxFailures || made.Error == "" || err == nil {
			t.Errorf("once = %v, %s (%v), want %d failures and %d of them named", err, stdout, jsonErr, maxFailures+4, maxFailures)
		}
		if n := strings.Count(stderr, "\n"); n != maxFailures+1 || !strings.HasSuffix(stderr, "gatepass: 4 more workspaces failed\n") {
			t.Errorf("once prints %d lines, want %d and one for the rest:\n%s", n, maxFailures, stderr)
		}
		if err := w.store.Delete(t.Context(), mustName(store.Record("sb-0"))); err != nil {
			t.Fatal(err)
		}
		if _, err := w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
			t.Fatal(err)
		}
		w.put(mustName(store.Record("sb-1")), "{")
		stdout, stderr, err = once()
		if err != errReported || !strings.Contains(stdout, "1 failed") || !strings.HasPrefix(stderr, "gatepass: workspace sb-1: ") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("once = %v, %q, %q, want the one failure in a line", err, stdout, stderr)
		}
	})
}

func mustName(n store.Name, err error) store.Name {
	if err != nil {
		panic(err)
	}
	return n
}

// process runs the program with a GitHub that listens and a file store.
func process(t *testing.T, args ...string) (*world, *exec.Cmd) {
	t.Helper()
	address := "file://" + t.TempDir() + "/store"
	s, err := issuing.OpenStore(address)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldWith(t, fakegithub.Options{}, s)
	w.settle("sb-1")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, w.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = []string{asProgram + "=1", "GATEPASS_STORE=" + address, "SSL_CERT_FILE=" + ca, "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	return w, cmd
}

func TestProgramOnce(t *testing.T) {
	w, cmd := process(t)
	before := w.token("sb-1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "tokens: 1 minted") || w.token("sb-1") == before {
		t.Errorf("the program: %v\n%s", err, out)
	}
}

// After a SIGTERM in the middle of a mint, the token is delivered, and then the program
// ends.
func TestProgramEndsInOrder(t *testing.T) {
	w, cmd := process(t, "--interval", "5m", "--listen", "none")
	before := w.token("sb-1")
	w.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Slow(time.Second), -1)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); w.asked() == 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil || w.token("sb-1") == before || !strings.Contains(out.String(), `"refreshed":1`) {
		t.Errorf("the program: %v, a new token: %v\n%s", err, w.token("sb-1") != before, &out)
	}
}

// The log contains text from GitHub and workspaces, and people read it on terminals.
// slog leaves DEL in text, and direction-changing characters in JSON.
func TestTheLogIsHarmless(t *testing.T) {
	for _, form := range []string{"text", "json"} {
		var out bytes.Buffer
		newLogger(&out, form).Info("a\u202eb", slog.String("error", "a\x7f"), slog.String("workspace", "\u2066\u200b\u009b31m"))
		if text := strings.TrimSuffix(out.String(), "\n"); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.Contains(text, `\u202e`) {
			t.Errorf("%s: the log has %q", form, text)
		}
	}
}
