package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/cmd/gatepass/command"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/freeport"
	"github.com/gatepass/gatepass/test/vaulttest"
)

func TestAppCreate(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		app     fakegithub.App
		typed   string // as the name, at GitHub
		options string // of the next command
	}{
		{"for an organization", []string{"--org", "acme"}, fakegithub.App{Name: "gatepass-acme", Owner: "acme", Permissions: map[string]string{"contents": "write", "metadata": "read"}}, "", ""},
		{
			"for oneself, to read",
			[]string{"--permissions", "clone", "--name", "Reader"},
			fakegithub.App{Name: "Reader", Owner: "octocat", Permissions: map[string]string{"contents": "read", "metadata": "read"}},
			"", "",
		},
		{
			"public, with more",
			[]string{"--public", "--permissions", "fetch,review,workflow", "--name", "x"},
			fakegithub.App{Name: "Renamed there", Owner: "octocat", Public: true, Permissions: map[string]string{"contents": "read", "pull_requests": "write", "workflows": "write", "metadata": "read"}},
			"Renamed there", "",
		},
		{
			"with a hostile name",
			[]string{"--name", `"><script>alert(1)</script>`},
			fakegithub.App{Name: `"><script>alert(1)</script>`, Owner: "octocat", Permissions: map[string]string{"contents": "write", "metadata": "read"}},
			"", "",
		},
	} {
		w := newCreateWorld(t)
		run := w.start(append(c.args, "--no-browser")...)
		last := w.person().create(run.address, c.typed)
		out, errs, status := run.wait()
		if status != 0 || errs != "" || !strings.HasPrefix(out, "open http://127.0.0.1:") {
			t.Fatalf("%s: create = %d, %q, %q, want 0 and the address first", c.name, status, out, errs)
		}
		app := w.Apps()[0]
		if app.Name != c.app.Name || app.Owner != c.app.Owner || app.Public != c.app.Public || !maps.Equal(app.Permissions, c.app.Permissions) {
			t.Errorf("%s: GitHub made %+v, want %+v", c.name, app, c.app)
		}
		kept := w.keeps()
		if names := slices.Sorted(maps.Keys(kept)); !slices.Equal(names, []string{"config/github/app-client-id", "config/github/github-url", "config/github/private-key"}) ||
			kept["config/github/app-client-id"] != app.ClientID || kept["config/github/github-url"] != w.URL() {
			t.Errorf("%s: the store has %v of the App %s, want its ID, its GitHub and its key", c.name, names, kept["config/github/app-client-id"])
		}
		if self := w.proves(app.ClientID, kept["config/github/private-key"]); self.ID != app.ID {
			t.Errorf("%s: the key is that of %+v, want the new App's", c.name, self)
		}
		for _, want := range []string{
			"the App " + app.Name + " is ready\n", "owner      " + app.Owner + "\n", "kept in    file://" + w.dir + "\n",
			"install it: " + w.URL() + "/apps/" + app.Slug + "/installations/new\n", "then run: gatepass app discover" + c.options + "\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: create prints\n%s\nwant %q in it", c.name, out, want)
			}
		}
		if !strings.Contains(last.text, " is ready</h1>") || strings.Contains(last.text, "<script") || last.url.RawQuery != "" {
			t.Errorf("%s: the last page is %s\n%s\nwant success, without the code", c.name, last.url, last.text)
		}
		w.showsNoSecret(kept["config/github/private-key"], out, errs, last.text, strings.Join(run.cmd.Args, " "))
	}
}

func TestAppCreateJSON(t *testing.T) {
	w := newCreateWorld(t)
	w.variables = []string{"SSH_CONNECTION=192.0.2.1 1 192.0.2.2 22"}
	port := freePort(t)
	run := w.start("--json", "--no-browser", "--port", port, "--org", "acme")
	if !strings.HasPrefix(run.address, "http://127.0.0.1:"+port+"/") {
		t.Fatalf("the page is at %s, want port %s", run.address, port)
	}
	w.person().create(run.address, "")
	out, errs, status := run.wait()
	r := readReport(t, out)
	app, pem := w.Apps()[0], w.keeps()["config/github/private-key"]
	if status != 0 || r.App.ClientID != app.ClientID || r.App.Slug != "gatepass-acme" || r.App.Permissions["contents"] != "write" ||
		!strings.HasPrefix(r.Key.Fingerprint, "SHA256:") || r.KeyIn != "file://"+w.dir || r.Next != "gatepass app discover" || r.Install != w.URL()+"/apps/gatepass-acme/installations/new" {
		t.Errorf("create --json = %d, %+v, want the App, its key and what is next", status, r)
	}
	if !strings.Contains(errs, "ssh -L "+port+":127.0.0.1:"+port+" HOST\n") {
		t.Errorf("stderr is %q, want how to reach the page over ssh", errs)
	}
	w.showsNoSecret(pem, out, errs)
}

func freePort(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestAppCreateReplacesByForce(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newCreateWorld(t)
	first := w.start("--no-browser", "--org", "acme")
	w.person().create(first.address, "")
	first.wait()
	kept := w.keeps()
	old := kept["config/github/app-client-id"]

	asked := len(w.Requests())
	out, errs, status := w.start("--no-browser").wait()
	if status != 1 || out != "" || strings.Count(errs, "\n") != 1 ||
		!strings.Contains(errs, "the store has config/github/app-client-id, config/github/private-key, config/github/github-url already; add --force") {
		t.Errorf("create again = %d, %q, %q, want 1 and what is there", status, out, errs)
	}
	if n := len(w.Requests()); n != asked || !maps.Equal(w.keeps(), kept) {
		t.Errorf("GitHub was asked %d times, want not at all, and the store as it was", n-asked)
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "config/github/installations"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "config/github/installations/acme"), []byte("7"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := w.start("--no-browser", "--force", "--store", "file://"+w.dir)
	w.person().create(again.address, "another")
	out, errs, status = again.wait()
	if status != 0 || !strings.Contains(out, "then run: gatepass app discover --prune --store "+usererr.Quote("file://"+w.dir)+"\n") {
		t.Errorf("create --force = %d, %q, %q, want a new App and the old installations gone", status, out, errs)
	}
	if id := w.keeps()["config/github/app-client-id"]; id == old || id != w.Apps()[1].ClientID {
		t.Errorf("the store has the App %s, want the new one", id)
	}
}

// The desktop's program gets the address and the environment of gatepass.
func TestAppCreateOpensABrowser(t *testing.T) {
	w := newCreateWorld(t)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte("#!/bin/sh\nprintf '%s' \"$*\" >\"$HOME/opened.tmp\" && mv \"$HOME/opened.tmp\" \"$HOME/opened\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.variables = []string{"DISPLAY=:0", "PATH=" + bin + ":" + os.Getenv("PATH")}
	run := w.start("--org", "acme")
	var opened []byte
	for deadline := time.Now().Add(time.Minute); opened == nil && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		opened, _ = os.ReadFile(filepath.Join(w.home, "opened"))
	}
	if string(opened) != run.address || run.address == "" {
		t.Errorf("xdg-open was given %q, want %q", opened, run.address)
	}
	w.person().create(run.address, "")
	if out, errs, status := run.wait(); status != 0 {
		t.Errorf("create = %d, %q, %q, want 0", status, out, errs)
	}
}

func TestPermissionVerbsAreMints(t *testing.T) {
	for _, verb := range PermissionVerbs {
		verbs(t, verb)
	}
	if _, err := mint.Verbs("x"); err == nil || strings.Count(err.Error(), ",")+1 != len(PermissionVerbs) {
		t.Errorf("mint knows %v, want %v", err, PermissionVerbs)
	}
}

func TestOpener(t *testing.T) {
	for _, c := range []struct {
		system, variable, want string
	}{
		{"linux", "", ""},
		{"linux", "DISPLAY", "xdg-open"},
		{"linux", "WAYLAND_DISPLAY", "xdg-open"},
		{"linux", "WSL_DISTRO_NAME", "wslview"},
		{"darwin", "", "open"},
	} {
		getenv := func(name string) string {
			if name == c.variable {
				return "x"
			}
			return ""
		}
		if got := opener(c.system, getenv); got != c.want {
			t.Errorf("opener(%s with %s) = %q, want %q", c.system, c.variable, got, c.want)
		}
	}
}

func TestAppCreateWarnsOfMore(t *testing.T) {
	var errs bytes.Buffer
	o := &creation{Environment: &command.Environment{Stderr: &errs}, github: "https://github.com"}
	o.flow.Manifest.Permissions = verbs(t, "clone")
	o.warnOfWider(mint.Registration{Permissions: map[string]string{"contents": "read", "metadata": "read"}})
	if errs.Len() > 0 {
		t.Errorf("what was asked is reported as more: %s", &errs)
	}
	o.warnOfWider(mint.Registration{Slug: "pass", Owner: mint.Account{Type: "User"}, Permissions: map[string]string{"contents": "write"}})
	if want := "gatepass: the App has more permissions than requested: contents: write; remove them at https://github.com/settings/apps/pass/permissions\n"; errs.String() != want {
		t.Errorf("the warning is %q, want %q", &errs, want)
	}
}

// From GitHub's answer into a real Vault, without another copy.
func TestRealAppCreateIntoVault(t *testing.T) {
	address := os.Getenv("GATEPASS_TEST_VAULT_ADDR")
	if address == "" {
		t.Skip("missing: Vault (make test-real sets GATEPASS_TEST_VAULT_ADDR)")
	}
	w := newCreateWorld(t)
	token := os.Getenv("GATEPASS_TEST_VAULT_TOKEN")
	w.variables = []string{"VAULT_ADDR=" + address, "VAULT_TOKEN=" + token}
	mount := fmt.Sprintf("t%d", time.Now().UnixNano())
	vaulttest.Root(t, http.MethodPost, address+"/v1/sys/mounts/"+mount, token, `{"type":"transit"}`)
	t.Cleanup(func() { vaulttest.Root(t, http.MethodDelete, address+"/v1/sys/mounts/"+mount, token, "") })

	to := "vault+transit://" + mount + "/gatepass"
	run := w.start("--no-browser", "--org", "acme", "--key-to", to)
	if last := w.person().create(run.address, ""); !strings.Contains(html.UnescapeString(last.text), "stored in "+to) {
		t.Errorf("the last page does not say where the key is:\n%s", last.text)
	}
	out, errs, status := run.wait()
	kept := w.keeps()
	if status != 0 || kept["config/github/signer"] != to || kept["config/github/private-key"] != "" {
		t.Fatalf("create = %d, %q, %q, with %v in the store, want the signer's URL only", status, out, errs, slices.Sorted(maps.Keys(kept)))
	}
	if files, _ := filepath.Glob(filepath.Join(w.home, "*.pem")); files != nil {
		t.Errorf("the key is in %s as well", files)
	}
	// For a place that is taken, gatepass makes no request to GitHub.
	out, errs, status = w.start("--no-browser", "--force", "--key-to", to).wait()
	if status != 1 || !strings.Contains(errs, "a key of that name exists already") || len(w.Apps()) != 1 {
		t.Errorf("create --key-to the same key = %d, %q, %q, want it refused before anything is made", status, out, errs)
	}
}

func readReport(t *testing.T, text string) createReport {
	t.Helper()
	var r createReport
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%q is no report: %v", text, err)
	}
	return r
}
