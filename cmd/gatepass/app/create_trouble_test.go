package app

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/vaulttest"
)

// oneLine fails unless the command ended with exactly that line.
func oneLine(t *testing.T, name, errs string, status int, wants ...string) {
	t.Helper()
	if status != 1 || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "gatepass: ") {
		t.Errorf("%s: exit %d, %q, want 1 and one line", name, status, errs)
	}
	for _, want := range wants {
		if !strings.Contains(errs, want) {
			t.Errorf("%s: %q, want %q in it", name, errs, want)
		}
	}
}

func TestAppCreateLooksBeforeItAsks(t *testing.T) {
	t.Parallel() // it waits
	for _, c := range []struct {
		name string
		set  func(w *createWorld)
		args []string
		want string
	}{
		{"a store that cannot be written", func(w *createWorld) {
			if err := os.Symlink("nowhere", w.dir); err != nil {
				w.t.Fatal(err)
			}
		}, nil, "try to write to the store: "},
		{"a store that cannot be read", func(w *createWorld) { writeText(w.t, w.dir, "a file where the folder should be") }, nil, "not a directory"},
		{"a GitHub that is down", func(w *createWorld) {
			w.Fail(fakegithub.To(http.MethodGet, "/rate_limit"), fakegithub.Status(http.StatusServiceUnavailable), -1)
		}, nil, "reach GitHub's API at "},
		{"a GitHub that is not there", func(*createWorld) {}, []string{"--github-url", "https://127.0.0.1:1"}, "reach GitHub's API at https://127.0.0.1:1/api/v3: "},
		{"a GitHub without a trusted certificate", func(w *createWorld) { w.variables = []string{"SSL_CERT_FILE=/dev/null"} }, nil, "certificate"},
		{"a port in use", func(*createWorld) {}, []string{"--port", taken(t)}, "create the App: listen on port "},
		{"a Vault that is not there", func(w *createWorld) { w.variables = []string{"VAULT_TOKEN=x"} }, []string{"--key-to", "vault+transit://transit/x?addr=https://127.0.0.1:1"}, "look at the transit key"},
	} {
		w := newCreateWorld(t)
		c.set(w)
		run := w.start(append(c.args, "--no-browser", "--org", "acme")...)
		out, errs, status := run.wait()
		oneLine(t, c.name, errs, status, c.want)
		if out != "" || len(w.Apps()) != 0 {
			t.Errorf("%s: %q, %d Apps, want that the user is not sent to GitHub", c.name, out, len(w.Apps()))
		}
		if _, err := os.Stat(filepath.Join(w.dir, "config")); err == nil {
			t.Errorf("%s: something was left in the store", c.name)
		}
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var rescued = regexp.MustCompile(`its only key is in (/.+) \(mode 0600\)`)

// A store that fails after GitHub has made the App must not lose the key.
func TestAppCreateRescuesTheKey(t *testing.T) {
	w := newCreateWorld(t)
	run := w.start("--no-browser", "--org", "acme", "--store", "file://"+w.dir)
	writeText(t, filepath.Join(w.dir, "config"), "a file where a folder should be")
	other := filepath.Join(w.home, "gatepass-acme.private-key.pem")
	writeText(t, other, "somebody else's")
	last := w.person().create(run.address, "")
	out, errs, status := run.wait()

	app := w.Apps()[0]
	path := filepath.Join(w.home, "gatepass-acme.private-key-2.pem")
	add := "gatepass app add --app-client-id " + app.ClientID + " --private-key-file " + usererr.Quote(path) + " --store " + usererr.Quote("file://"+w.dir) + " --github-url " + w.URL()
	oneLine(t, "a broken store", errs, status, "keep the new App gatepass-acme: ", path+" (mode 0600)", add+", and delete that file")
	if strings.Contains(out, "ready") || strings.Contains(last.text, "ready") || !strings.Contains(last.text, "gatepass-acme is made, but not set up") || !strings.Contains(last.text, path) {
		t.Errorf("stdout is %q and the last page\n%s\nwant no success, and where the key is", out, last.text)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file is %v, %v, want it with mode 0600", info, err)
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if self := w.proves(app.ClientID, string(pem)); self.ID != app.ID {
		t.Errorf("the file's key is that of %+v, want the new App's", self)
	}
	if left, _ := os.ReadFile(other); string(left) != "somebody else's" {
		t.Errorf("a file that was there is now %q", left)
	}
	w.showsNoSecret(string(pem), out, errs, last.text)
}

// The key is just as safe if another run has stored an App meanwhile.
func TestAppCreateLosesARaceAndNoKey(t *testing.T) {
	w := newCreateWorld(t)
	run := w.start("--no-browser", "--org", "acme")
	writeText(t, filepath.Join(w.dir, "config/github/app-client-id"), "Iv23liOther")
	w.person().create(run.address, "")
	_, errs, status := run.wait()
	oneLine(t, "a store filled meanwhile", errs, status, "already", " --force, and delete that file")
	if found := rescued.FindStringSubmatch(errs); found == nil {
		t.Errorf("%q names no file with the key", errs)
	} else if _, err := os.Stat(found[1]); err != nil {
		t.Error(err)
	}
	if id := w.keeps()["config/github/app-client-id"]; id != "Iv23liOther" {
		t.Errorf("the store has the App %q, want the one of before", id)
	}
}

func aMade(t *testing.T, slug string) mint.NewApp {
	t.Helper()
	m := mint.NewApp{Registration: mint.Registration{ID: 7, Slug: slug}}
	if err := m.PrivateKey.UnmarshalText([]byte("the key")); err != nil {
		t.Fatal(err)
	}
	return m
}

func verbs(t *testing.T, names ...string) mint.Permissions {
	t.Helper()
	permissions, err := mint.Verbs(names...)
	if err != nil {
		t.Fatal(err)
	}
	return permissions
}

// taken returns a port on which another listener is.
func taken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestRescueFileFindsAPlace(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	for _, c := range []struct {
		name, home, temp string
		found            bool
	}{
		{"no home, but temporary files", gone, t.TempDir(), true},
		{"nowhere", gone, gone, false},
	} {
		t.Chdir(t.TempDir())
		here, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(here); err != nil { // a working directory in which no file can be made
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", c.temp)
		o := &creation{Environment: &command.Environment{Getenv: func(string) string { return c.home }}}
		path, err := o.rescueFile(aMade(t, "../../Evil\nName"))
		if (err == nil) != c.found || c.found && path != filepath.Join(c.temp, "EvilName.private-key.pem") {
			t.Errorf("%s: rescueFile = %q, %v, want found %v", c.name, path, err, c.found)
		}
	}
}

func TestAppCreateAsksAgainForTheKey(t *testing.T) {
	t.Parallel() // it waits
	w := newCreateWorld(t)
	w.Fail(fakegithub.To(http.MethodPost, "/conversions"), fakegithub.Status(http.StatusBadGateway), 2)
	run := w.start("--no-browser", "--org", "acme")
	last := w.person().create(run.address, "")
	out, errs, status := run.wait()
	if status != 0 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "GitHub answered 502") || !strings.Contains(errs, "(trying again until ") {
		t.Errorf("create = %d, %q, %q, want success after one line about the trouble", status, out, errs)
	}
	if n := w.askedForKeys(); n != 3 || !strings.Contains(last.text, "is ready") {
		t.Errorf("GitHub was asked %d times, and the page is\n%s\nwant success the third time", n, last.text)
	}
}

func TestAppCreateWithoutAKey(t *testing.T) {
	t.Parallel() // it waits
	for _, c := range []struct {
		name  string
		fault fakegithub.Fault
		times int
		want  string
	}{
		{"a code that GitHub does not know", fakegithub.Status(http.StatusNotFound), -1, "GitHub answered 404"},
		{"an answer that is lost", fakegithub.Truncate(300), 1, "GitHub answered 404"}, // the second time
	} {
		w := newCreateWorld(t)
		w.Fail(fakegithub.To(http.MethodPost, "/conversions"), c.fault, c.times)
		run := w.start("--no-browser", "--org", "acme")
		last := w.person().create(run.address, "")
		_, errs, status := run.wait()
		lines := strings.SplitAfter(strings.TrimSuffix(errs, "\n"), "\n")
		oneLine(t, c.name, lines[len(lines)-1]+"\n", status, c.want, "a code works once", "create a private key for it at "+w.URL()+"/organizations/acme/settings/apps, then run gatepass app add")
		if !strings.Contains(last.text, "The App is not set up") || len(w.keeps()) != 0 {
			t.Errorf("%s: the store has %d entries and the page is\n%s\nwant nothing kept, and the reason", c.name, len(w.keeps()), last.text)
		}
	}
}

func TestAppCreateEndsAtAnInterrupt(t *testing.T) {
	w := newCreateWorld(t)
	run := w.start("--no-browser", "--org", "acme")
	run.interrupt()
	_, errs, status := run.wait()
	oneLine(t, "while it waits", errs, status, "create the App: interrupted; if GitHub has created it anyway, delete it at "+w.URL()+"/organizations/acme/settings/apps")

	w.Fail(fakegithub.To(http.MethodPost, "/conversions"), fakegithub.Status(http.StatusBadGateway), -1)
	run = w.start("--no-browser", "--org", "acme")
	go func() {
		for deadline := time.Now().Add(time.Minute); w.askedForKeys() == 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		_ = run.cmd.Process.Signal(os.Interrupt)
	}()
	last := w.person().create(run.address, "")
	_, errs, status = run.wait()
	_, final, _ := strings.Cut(errs, "\n")
	oneLine(t, "while it asks for the key", final, status, "GitHub answered 502", "GitHub has created it: create a private key for it at")
	if !strings.Contains(last.text, "not set up") {
		t.Errorf("the last page is\n%s\nwant what became of it", last.text)
	}
}

func TestAppCreateIsCancelled(t *testing.T) {
	w := newCreateWorld(t)
	run := w.start("--no-browser")
	p := w.person()
	if got := p.submit(p.open(run.address), 1, nil); !strings.Contains(got.text, "No App was made") {
		t.Errorf("Cancel shows\n%s\nwant that no App was made", got.text)
	}
	_, errs, status := run.wait()
	oneLine(t, "Cancel", errs, status, "create the App: it was cancelled on the page")
	if len(w.Apps()) != 0 || len(w.keeps()) != 0 {
		t.Error("Cancel left something")
	}
}

func TestAppCreateWaitsNoLongerThanItSays(t *testing.T) {
	w := newCreateWorld(t)
	var out, errs bytes.Buffer
	o := &creation{Environment: &command.Environment{Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &errs}, settings: "https://github.com/settings/apps"}
	o.flow.GitHub, o.flow.Limit = w.URL(), 30*time.Millisecond
	o.flow.Manifest.Homepage, o.flow.Manifest.Permissions = homepage, verbs(t, "clone")
	_, err := o.run(t.Context())
	if want := "create the App: GitHub sent no answer in time; run it again; if GitHub has created it anyway, delete it at https://github.com/settings/apps"; err == nil || err.Error() != want {
		t.Errorf("run = %v, want %q", err, want)
	}
	if _, err := w.person().client.Get(strings.Fields(out.String())[1]); err == nil {
		t.Error("the page is still there")
	}
}

func TestFetchLosesPatience(t *testing.T) {
	w := newCreateWorld(t)
	w.Fail(func(*http.Request) bool { return true }, fakegithub.RateLimited(time.Minute), -1)
	for _, patience := range []time.Duration{0, 59 * time.Second} {
		var errs bytes.Buffer
		o := &creation{Environment: &command.Environment{Stderr: &errs}, github: w.URL(), settings: "https://ghe.example/settings/apps", patience: patience, client: w.Client()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := o.fetch(ctx, strings.Repeat("0", 40)); err == nil || ctx.Err() != nil || errs.Len() > 0 {
			t.Errorf("fetch with patience for %v = %v, want an error at once", patience, err)
		}
	}
}

// If Vault refuses after accepting, the key is left in a file too.
func TestRealAppCreateRescuesFromVault(t *testing.T) {
	address := os.Getenv("GATEPASS_TEST_VAULT_ADDR")
	if address == "" {
		t.Skip("missing: Vault (make test-real sets GATEPASS_TEST_VAULT_ADDR)")
	}
	w := newCreateWorld(t)
	token := os.Getenv("GATEPASS_TEST_VAULT_TOKEN")
	w.variables = []string{"VAULT_ADDR=" + address, "VAULT_TOKEN=" + token}
	mount := fmt.Sprintf("t%d", time.Now().UnixNano())
	vaulttest.Root(t, http.MethodPost, address+"/v1/sys/mounts/"+mount, token, `{"type":"transit"}`)
	run := w.start("--no-browser", "--key-to", "vault+transit://"+mount+"/gatepass", "--name", "pass")
	vaulttest.Root(t, http.MethodDelete, address+"/v1/sys/mounts/"+mount, token, "")
	w.person().create(run.address, "")
	_, errs, status := run.wait()
	path := filepath.Join(w.home, "pass.private-key.pem")
	oneLine(t, "a mount that is gone", errs, status, "its only key is in "+path,
		"run gatepass app key import --private-key-file "+path+" --to vault+transit://"+mount+"/gatepass && gatepass app add --app-client-id ", " --signer vault+transit://"+mount+"/gatepass ")
	if pem, err := os.ReadFile(path); err != nil || w.proves(w.Apps()[0].ClientID, string(pem)).Slug != "pass" {
		t.Errorf("the file has no good key: %v", err)
	}
}
